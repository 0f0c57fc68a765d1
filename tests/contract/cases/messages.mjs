import { check, same, sleep } from '../api.mjs';
import { key } from '../names.mjs';
import { queue, sent } from './queues.mjs';

async function received(api, name, body = { max: 100 }) {
  return (await api.call('receiveMessages', { path: { queue: name }, body, expect: 200 })).body.messages;
}

async function settled(api, name, body, expect = 200) {
  const answer = await api.call('settleMessages', { path: { queue: name }, body, expect });
  return answer.body.results?.map((one) => one.outcome);
}

const get = (api, name, id, expect = 200) => api.call('getMessage', { path: { queue: name, id }, expect });

/** A queue with one message that has been delivered once; its lease runs as long as told. */
async function delivered(api, config = {}, lease_ms = 30000) {
  const name = await queue(api, config);
  await sent(api, name, [1]);
  const [message] = await received(api, name, { lease_ms });
  return { name, ...message };
}

function receiving(t) {
  t('receiveMessages leases in order of priority, then of sending', async (api) => {
    const name = await queue(api);
    await sent(api, name, [
      { body: 'low' },
      { body: 'high', priority: 9 },
      { body: 'low too' },
      { body: 'mid', priority: 5 },
    ]);
    const messages = await received(api, name, { max: 100, lease_ms: 5000, consumer: 'c' });
    same(
      messages.map((one) => one.body),
      ['high', 'mid', 'low', 'low too'],
      'the order',
    );
    same(
      messages.map((one) => [one.attempt, one.failures]),
      Array(4).fill([1, 0]),
      'attempt and failures',
    );
    check(
      messages.every((one) => one.lease_expires_in_ms > 4000 && one.lease_expires_in_ms <= 5000),
      'the lease',
    );
    same(new Set(messages.map((one) => one.receipt)).size, 4, 'the receipts');
    const { body } = await get(api, name, messages[0].id);
    same([body.state, body.consumer], ['leased', 'c'], 'the message');
    same(await received(api, name), [], 'what is left');
  });
  t('receiveMessages waits for a message', async (api) => {
    const name = await queue(api);
    const waiting = received(api, name, { wait_ms: 20000 });
    await sleep(100);
    const begun = Date.now();
    await sent(api, name, ['x']);
    same(
      (await waiting).map((one) => one.body),
      ['x'],
      'the bodies',
    );
    check(Date.now() - begun < 2000, 'the send wakes the receive');
  });
  t('receiveMessages is woken when a delay, a lease or a pause ends', async (api) => {
    const name = await queue(api);
    await sent(api, name, [{ body: 'later', delay_ms: 300 }]);
    const [message] = await received(api, name, { wait_ms: 20000, lease_ms: 300 });
    same(message.body, 'later', 'the body');
    const [again] = await received(api, name, { wait_ms: 20000 });
    same([again.id, again.attempt, again.failures], [message.id, 2, 1], 'the second delivery');
    check(again.fence > message.fence, 'a greater fence');
    await api.call('patchQueue', { path: { queue: name }, body: { paused: true }, expect: 200 });
    await sent(api, name, ['paused']);
    same(await received(api, name), [], 'what a paused queue gives');
    const waiting = received(api, name, { wait_ms: 20000 });
    await sleep(100);
    await api.call('patchQueue', { path: { queue: name }, body: { paused: false }, expect: 200 });
    same(
      (await waiting).map((one) => one.body),
      ['paused'],
      'the bodies',
    );
  });
  t('receiveMessages gives an empty list when the wait is over', async (api) => {
    const begun = Date.now();
    same(await received(api, await queue(api), { wait_ms: 300 }), [], 'the messages');
    check(Date.now() - begun >= 250, 'it waited');
  });
  t('receiveMessages waits as long as Prefer says', async (api) => {
    const path = { queue: await queue(api) };
    const begun = Date.now();
    const call = { path, headers: { Prefer: 'wait=1' }, expect: 200 };
    const { body, headers } = await api.call('receiveMessages', call);
    same([body.messages, headers['preference-applied']], [[], 'wait=1'], 'the answer');
    check(Date.now() - begun >= 950, 'it waited');
  });
  t('receiveMessages keeps the order of a group', async (api) => {
    const name = await queue(api);
    await sent(api, name, [
      { body: 'g1', group: 'g' },
      { body: 'g2', group: 'g' },
      { body: 'h1', group: 'h' },
      { body: 'x' },
    ]);
    const first = await received(api, name);
    same(
      first.map((one) => one.body),
      ['g1', 'h1', 'x'],
      'the first of each',
    );
    same(
      first.map((one) => one.group),
      ['g', 'h', null],
      'the groups',
    );
    await settled(api, name, { acks: [first[0].receipt] });
    same(
      (await received(api, name)).map((one) => one.body),
      ['g2'],
      'the next of the group',
    );
  });
  t('receiveMessages with an Idempotency-Key', async (api) => {
    const name = await queue(api);
    const call = {
      path: { queue: name },
      body: { wait_ms: 10000 },
      headers: { 'Idempotency-Key': key('k') },
    };
    const first = api.call('receiveMessages', { ...call, expect: 200 });
    while ((await api.call('getStatus', { expect: 200 })).body.parked_requests === 0) await sleep(10);
    await api.call('receiveMessages', { ...call, expect: '409 idempotency-in-flight' });
    await sent(api, name, [1, 2]);
    const again = await api.call('receiveMessages', { ...call, expect: [200, '409 idempotency-in-flight'] });
    const { body } = await first;
    if (again.status === 200) same(again.body.messages[0].receipt, body.messages[0].receipt, 'the receipt');
    await api.call('receiveMessages', { ...call, body: { max: 2 }, expect: '422 idempotency-key-reused' });
  });
}

function settling(t) {
  t('settleMessages has an outcome for each receipt', async (api) => {
    const name = await queue(api);
    await sent(api, name, [1, 2, 3, 4]);
    const [one, two, three, four] = (await received(api, name)).map((message) => message.receipt);
    const body = {
      acks: [one],
      nacks: [{ receipt: two, delay_ms: 60000, reason: 'busy' }],
      extends: [{ receipt: three, lease_ms: 60000 }],
      rejects: [{ receipt: four, reason: 'broken' }],
    };
    const { body: answer } = await api.call('settleMessages', { path: { queue: name }, body, expect: 200 });
    same(
      answer.results.map((result) => result.receipt),
      [one, two, three, four],
      'the receipts',
    );
    same(
      answer.results.map((result) => result.outcome),
      ['acked', 'nacked', 'extended', 'rejected'],
      'the outcomes',
    );
    same(
      await settled(api, name, { acks: [one, two, three] }),
      ['already_acked', 'lease_lost', 'acked'],
      'the outcomes',
    );
    const { body: counts } = await api.call('getQueue', { path: { queue: name }, expect: 200 });
    same([counts.ready, counts.delayed, counts.leased, counts.dead], [0, 1, 0, 1], 'the counts');
    const { body: dead } = await api.call('listMessages', {
      path: { queue: name },
      query: { state: 'dead' },
      expect: 200,
    });
    same(
      dead.items.map((message) => [message.body, message.reason]),
      [[4, 'broken']],
      'the dead',
    );
    same(await settled(api, name, {}), [], 'the outcomes of nothing');
  });
  t('settleMessages takes the whole text of an error as the reason, and none', async (api) => {
    const { name, id, receipt } = await delivered(api);
    const reason = 'é'.repeat(2048);
    const nack = (r, why) => settled(api, name, { nacks: [{ receipt: r, reason: why }] });
    same(await nack(receipt, reason), ['nacked'], 'the outcome');
    same((await get(api, name, id)).body.reason, reason, 'the reason');
    const [again] = await received(api, name);
    await settled(api, name, { nacks: [{ receipt: again.receipt, reason: `${reason}x` }] }, '400 invalid-field');
    same(await nack(again.receipt, ''), ['nacked'], 'the outcome');
    same((await get(api, name, id)).body.reason, reason, 'the last reason that was given');
  });
  t('settleMessages tells a message that is gone', async (api) => {
    const { name, receipt } = await delivered(api);
    await api.call('purgeQueue', { path: { queue: name }, expect: 200 });
    same(await settled(api, name, { acks: [receipt] }), ['gone'], 'the outcome');
  });
  t('settleMessages with atomic does all or nothing', async (api) => {
    const name = await queue(api);
    await sent(api, name, [1, 2]);
    const [one, two] = (await received(api, name)).map((message) => message.receipt);
    await settled(api, name, { nacks: [{ receipt: two, delay_ms: 60000 }] });
    const outcomes = await settled(api, name, { acks: [one, two], atomic: true }, '409 settle-failed');
    same(outcomes.at(-1), 'lease_lost', 'the outcome that failed');
    same((await api.call('getQueue', { path: { queue: name }, expect: 200 })).body.leased, 1, 'leased');
    same(await settled(api, name, { acks: [one], atomic: true }), ['acked'], 'the outcome');
  });
  t('settleMessages refuses receipts that it did not make, and too many', async (api) => {
    const { name, receipt } = await delivered(api);
    const other = await delivered(api);
    const forged = receipt.slice(0, -1) + (receipt.endsWith('A') ? 'B' : 'A');
    for (const wrong of ['x', forged, `${receipt}x`, other.receipt]) {
      await settled(api, name, { acks: [wrong] }, '400 invalid-field');
    }
    const acks = Array.from({ length: 600 }, () => receipt);
    await settled(api, name, { acks, nacks: acks.map((one) => ({ receipt: one })) }, '400 invalid-field');
  });
  t('settleMessages with an Idempotency-Key', async (api) => {
    const { name, receipt } = await delivered(api);
    const call = { path: { queue: name }, headers: { 'Idempotency-Key': key('k') } };
    const first = await api.call('settleMessages', { ...call, body: { acks: [receipt] }, expect: 200 });
    const again = await api.call('settleMessages', { ...call, body: { acks: [receipt] }, expect: 200 });
    same(again.text, first.text, 'the second answer');
    await api.call('settleMessages', { ...call, body: { acks: [] }, expect: '422 idempotency-key-reused' });
  });
  t('a lease that ran out is lost, and its receipt too', async (api) => {
    const { name, receipt, id } = await delivered(api, {}, 50);
    await sleep(200);
    const [again] = await received(api, name);
    same([again.id, again.failures], [id, 1], 'the second delivery');
    same(await settled(api, name, { acks: [receipt] }), ['lease_lost'], 'the outcome');
    const late = { path: { queue: name, id }, headers: { Receipt: receipt } };
    await api.call('deleteMessage', { ...late, expect: '409 lease-lost' });
    same(await settled(api, name, { acks: [again.receipt] }), ['acked'], 'the outcome');
    await api.call('deleteMessage', { ...late, expect: '410 message-gone' });
  });
}

function deleting(t) {
  t('deleteMessage acknowledges, however often', async (api) => {
    const { name, id, receipt } = await delivered(api);
    const path = { queue: name, id };
    await api.call('deleteMessage', { path, expect: '409 message-leased' });
    await api.call('deleteMessage', { path, headers: { Receipt: receipt }, expect: 204 });
    await api.call('deleteMessage', { path, headers: { Receipt: receipt }, expect: 204 });
    await get(api, name, id, '404 message-not-found');
  });
  t('deleteMessage cancels what nobody holds', async (api) => {
    const name = await queue(api);
    const [ready, delayed] = await sent(api, name, [1, { body: 2, delay_ms: 60000 }]);
    for (const id of [ready, delayed])
      await api.call('deleteMessage', { path: { queue: name, id }, expect: 204 });
    const { body } = await api.call('getQueue', { path: { queue: name }, expect: 200 });
    same([body.ready, body.delayed], [0, 0], 'the counts');
    const again = '410 message-gone';
    await api.call('deleteMessage', { path: { queue: name, id: ready }, expect: again });
  });
  t('deleteMessage refuses a receipt that is not of this message', async (api) => {
    const { name, id, receipt } = await delivered(api);
    const [other] = await sent(api, name, [2]);
    const wrong = '400 invalid-header';
    await api.call('deleteMessage', { path: { queue: name, id }, headers: { Receipt: 'x' }, expect: wrong });
    await api.call('deleteMessage', {
      path: { queue: name, id: other },
      headers: { Receipt: receipt },
      expect: wrong,
    });
  });
  t('a message nobody knows', async (api) => {
    const name = await queue(api);
    for (const id of ['999999999', 'x', '00', '-1', '99999999999999999999']) {
      await get(api, name, id, '404 message-not-found');
      await api.call('deleteMessage', { path: { queue: name, id }, expect: '404 message-not-found' });
    }
  });
  t('a message that was settled is found no more', async (api) => {
    const { name, id, receipt } = await delivered(api);
    await settled(api, name, { acks: [receipt] });
    await get(api, name, id, '404 message-not-found');
  });
  t('purgeQueue removes the messages of one state, or all', async (api) => {
    const name = await queue(api);
    await sent(api, name, [1, 2, { body: 3, delay_ms: 60000 }]);
    await received(api, name, { max: 1 });
    const purge = async (body) =>
      (await api.call('purgeQueue', { path: { queue: name }, body, expect: 200 })).body.purged;
    same(await purge({ state: 'ready' }), 1, 'purged');
    same(await purge(), 2, 'purged');
    const { body } = await api.call('getQueue', { path: { queue: name }, expect: 200 });
    same([body.ready, body.delayed, body.leased, body.dead], [0, 0, 0, 0], 'the counts');
  });
  t('purgeQueue and redriveQueue with an Idempotency-Key', async (api) => {
    const name = await queue(api);
    for (const [operation, one, other] of [
      ['purgeQueue', { state: 'dead' }, {}],
      ['redriveQueue', { max: 1 }, { max: 2 }],
    ]) {
      const call = { path: { queue: name }, headers: { 'Idempotency-Key': key('k') } };
      await api.call(operation, { ...call, body: one, expect: 200 });
      await api.call(operation, { ...call, body: other, expect: '422 idempotency-key-reused' });
    }
  });
}

function dying(t) {
  t('a message that failed too often is dead, and can be made ready again', async (api) => {
    const { name, id, receipt } = await delivered(api, { max_attempts: 1 });
    same(await settled(api, name, { nacks: [{ receipt, reason: 'no luck' }] }), ['nacked'], 'the outcome');
    const { body } = await get(api, name, id);
    same([body.state, body.reason, body.failures], ['dead', 'no luck', 1], 'the message');
    const redrive = async (options) =>
      (await api.call('redriveQueue', { path: { queue: name }, body: options, expect: 200 })).body.redriven;
    same(await redrive({ ids: ['999999'] }), 0, 'redriven');
    same(await redrive({ ids: [id] }), 1, 'redriven');
    const [again] = await received(api, name);
    same([again.id, again.attempt, again.failures], [id, 1, 0], 'the message');
    await settled(api, name, { rejects: [{ receipt: again.receipt }] });
    same(await redrive({ max: 5 }), 1, 'redriven');
    same(await redrive(), 0, 'redriven');
  });
  t('a dead message moves to the dead-letter queue', async (api) => {
    const order = key('order');
    const [name, dead] = [`${order}~jobs`, `${order}~dead`];
    await api.call('putQueue', {
      path: { queue: name },
      body: { dead_letter: dead, max_attempts: 1 },
      expect: 201,
    });
    await sent(api, name, [{ body: { n: 1 }, attributes: { a: 'b' } }]);
    const [{ receipt }] = await received(api, name);
    await settled(api, name, { nacks: [{ receipt, reason: 'no luck' }] });
    const [moved] = await received(api, dead);
    same(moved.body, { n: 1 }, 'the body');
    const { a, dead_letter_reason, dead_letter_source } = moved.attributes;
    same([a, dead_letter_reason, dead_letter_source], ['b', 'no luck', name], 'the attributes');
  });
  t('listMessages finds by state and group, page by page, and leases nothing', async (api) => {
    const name = await queue(api);
    await sent(api, name, [1, { body: 2, group: 'g' }, { body: 3, group: 'g', delay_ms: 60000 }, 4]);
    const list = async (query) =>
      (await api.call('listMessages', { path: { queue: name }, query, expect: 200 })).body;
    same(
      (await list({})).items.map((one) => one.body),
      [1, 2, 3, 4],
      'all',
    );
    same(
      (await list({ state: 'delayed' })).items.map((one) => one.body),
      [3],
      'the delayed',
    );
    same(
      (await list({ group: 'g' })).items.map((one) => one.body),
      [2, 3],
      'the group',
    );
    const first = await list({ limit: 3 });
    const second = await list({ limit: 3, cursor: first.next_cursor });
    same(
      [...first.items, ...second.items].map((one) => one.body),
      [1, 2, 3, 4],
      'two pages',
    );
    same(second.next_cursor, undefined, 'next_cursor of the last page');
    const [delayed] = (await list({ state: 'delayed' })).items;
    check(Date.parse(delayed.deliver_at) > Date.now() + 50000, 'deliver_at');
  });
  t('a message is gone when its time is over', async (api) => {
    for (const [config, message] of [
      [{}, { body: 1, ttl_ms: 50 }],
      [{ retention_ms: 50 }, { body: 1 }],
    ]) {
      const name = await queue(api, config);
      const [id] = await sent(api, name, [message]);
      await sleep(200);
      same(await received(api, name), [], 'the messages');
      await get(api, name, id, '404 message-not-found');
    }
  });
}

export default function messages(t) {
  receiving(t);
  settling(t);
  deleting(t);
  dying(t);
}
