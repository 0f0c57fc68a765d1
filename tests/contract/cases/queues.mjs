import { check, same, sleep } from '../api.mjs';
import { key } from '../names.mjs';

export async function queue(api, config = {}) {
  const name = key('queue');
  await api.call('putQueue', { path: { queue: name }, body: config, expect: 201 });
  return name;
}

export async function sent(api, name, messages, expect = 201) {
  const list = messages.map((one) =>
    typeof one === 'object' && one !== null && 'body' in one ? one : { body: one },
  );
  const { body } = await api.call('sendMessages', {
    path: { queue: name },
    body: { messages: list },
    expect,
  });
  return body.messages?.map((one) => one.id);
}

const DEFAULTS = {
  lease_ms: 30000,
  max_attempts: 16,
  retention_ms: 1209600000,
  delay_ms: 0,
  dedup_window_ms: 300000,
  backoff: { base_ms: 0, factor: 2, max_ms: 3600000 },
  group_concurrency: 1,
  paused: false,
  shards: 1,
  routing: 'hash',
};

function checkConfig(got, wanted) {
  const config = Object.fromEntries(Object.keys(wanted).map((name) => [name, got[name]]));
  same(config, wanted, 'the configuration');
}

function configuring(t) {
  t('putQueue takes the defaults, then what it is told', async (api) => {
    const path = { queue: key('order') };
    const first = await api.call('putQueue', { path, expect: 201 });
    same(first.headers.location, `/v1/queues/${path.queue}`, 'Location');
    checkConfig(first.body, DEFAULTS);
    for (const name of ['max_depth', 'rate', 'dead_letter']) same(first.body[name], undefined, name);
    const config = {
      ...DEFAULTS,
      lease_ms: 1000,
      max_depth: 7,
      backoff: { base_ms: 10, factor: 1.5, max_ms: 1000 },
      rate: { per_s: 5, burst: 9 },
      dead_letter: `${path.queue}~dead`,
      paused: true,
    };
    checkConfig((await api.call('putQueue', { path, body: config, expect: 200 })).body, config);
    const { body } = await api.call('putQueue', { path, body: { rate: { per_s: 5 } }, expect: 200 });
    checkConfig(body, { ...DEFAULTS, rate: { per_s: 5, burst: 5 } });
  });
  t('putQueue under If-Match and If-None-Match', async (api) => {
    const path = { queue: key('queue') };
    const { body } = await api.call('putQueue', { path, headers: { 'If-None-Match': '*' }, expect: 201 });
    await api.call('putQueue', { path, headers: { 'If-None-Match': '*' }, expect: '412 version-mismatch' });
    const headers = { 'If-Match': `"${body.version}"` };
    await sent(api, path.queue, [1]);
    const { body: now } = await api.call('getQueue', { path, expect: 200 });
    check(now.version > body.version, 'a send makes the version grow');
    await api.call('putQueue', { path, body: { lease_ms: 5 }, headers, expect: 200 });
    await api.call('putQueue', { path, headers, expect: '412 version-mismatch' });
    await api.call('patchQueue', { path, body: {}, headers, expect: '412 version-mismatch' });
    await api.call('deleteQueue', { path, headers, expect: '412 version-mismatch' });
    const absent = {
      path: { queue: key('queue') },
      headers: { 'If-Match': '*' },
      expect: '412 version-mismatch',
    };
    same((await api.call('putQueue', absent)).body.current_version, 0, 'current_version');
  });
  t('putQueue refuses a dead-letter queue elsewhere, and one that leads back', async (api) => {
    const order = key('order');
    const [one, two] = [`${order}~one`, `${order}~two`];
    const put = (name, target, expect) =>
      api.call('putQueue', { path: { queue: name }, body: { dead_letter: target }, expect });
    await put(one, key('other'), '422 cross-partition');
    await put(one, one, '422 invalid-dead-letter');
    await put(one, two, 201);
    await put(two, one, '422 invalid-dead-letter');
    await put(two, `${order}~three`, 201);
    const patch = { path: { queue: two }, body: { dead_letter: one }, expect: '422 invalid-dead-letter' };
    await api.call('patchQueue', patch);
  });
  t('patchQueue merges, and null puts the default back', async (api) => {
    const name = await queue(api, {
      lease_ms: 1000,
      max_depth: 7,
      rate: { per_s: 5, burst: 9 },
      backoff: { base_ms: 7 },
    });
    const patch = (body) => api.call('patchQueue', { path: { queue: name }, body, expect: 200 });
    const { body } = await patch({ paused: true, backoff: { factor: 3 }, rate: { burst: 20 } });
    const wanted = { lease_ms: 1000, max_depth: 7, paused: true, rate: { per_s: 5, burst: 20 } };
    checkConfig(body, { ...wanted, backoff: { base_ms: 7, factor: 3, max_ms: 3600000 } });
    const nothing = { lease_ms: null, max_depth: null, rate: null, backoff: null, paused: null };
    const { body: back } = await patch(nothing);
    checkConfig(back, DEFAULTS);
    same([back.max_depth, back.rate], [undefined, undefined], 'the limits');
  });
  t('a queue nobody knows', async (api) => {
    const path = { queue: key('nobody') };
    const expect = '404 queue-not-found';
    for (const operation of ['getQueue', 'listMessages', 'receiveMessages', 'purgeQueue', 'redriveQueue']) {
      await api.call(operation, { path, expect });
    }
    await api.call('patchQueue', { path, body: {}, expect });
    await api.call('settleMessages', { path, body: { acks: [] }, expect });
    await api.call('getMessage', { path: { ...path, id: '1' }, expect });
    await api.call('deleteMessage', { path: { ...path, id: '1' }, expect });
  });
  t('deleteQueue spares a queue with messages where asked to', async (api) => {
    const name = await queue(api);
    await sent(api, name, [1]);
    const call = { path: { queue: name }, query: { if_empty: true } };
    await api.call('deleteQueue', { ...call, expect: '409 queue-not-empty' });
    await api.call('deleteQueue', { path: { queue: name }, expect: 204 });
    await api.call('deleteQueue', { path: { queue: name }, expect: 204 });
    await api.call('getQueue', { path: { queue: name }, expect: '404 queue-not-found' });
    await api.call('deleteQueue', {
      path: { queue: await queue(api) },
      query: { if_empty: true },
      expect: 204,
    });
  });
}

function reading(t) {
  t('getQueue counts exactly, and waits for a change', async (api) => {
    const name = await queue(api);
    const path = { queue: name };
    await sent(api, name, [1, 2, { body: 3, delay_ms: 60000 }]);
    await api.call('receiveMessages', { path, expect: 200 });
    const { body, headers } = await api.call('getQueue', { path, expect: 200 });
    same([body.ready, body.delayed, body.leased, body.dead], [1, 1, 1, 0], 'the counts');
    await api.call('getQueue', { path, headers: { 'If-None-Match': headers.etag }, expect: 304 });
    const waiting = {
      path,
      query: { wait_ms: 20000 },
      headers: { 'If-None-Match': headers.etag },
      expect: 200,
    };
    const watching = api.call('getQueue', waiting);
    await sleep(100);
    await sent(api, name, [4]);
    same((await watching).body.ready, 2, 'ready');
  });
  t('listQueues finds by prefix, page by page', async (api) => {
    const prefix = key('list');
    for (const word of ['a', 'b', 'c']) {
      await api.call('putQueue', { path: { queue: `${prefix}~${word}` }, expect: 201 });
    }
    const first = await api.call('listQueues', { query: { prefix: `${prefix}~`, limit: 2 }, expect: 200 });
    same(
      first.body.items.map((one) => one.name),
      [`${prefix}~a`, `${prefix}~b`],
      'the first page',
    );
    const query = { prefix: `${prefix}~`, limit: 2, cursor: first.body.next_cursor };
    const second = await api.call('listQueues', { query, expect: 200 });
    same(
      second.body.items.map((one) => one.name),
      [`${prefix}~c`],
      'the second page',
    );
    same(second.body.next_cursor, undefined, 'next_cursor of the last page');
  });
}

function sending(t) {
  t('sendMessages makes the queue, with its defaults', async (api) => {
    const name = key('queue');
    await sent(api, name, [1]);
    checkConfig((await api.call('getQueue', { path: { queue: name }, expect: 200 })).body, DEFAULTS);
  });
  t('sendMessages takes any JSON, and gives it back', async (api) => {
    const name = await queue(api);
    const bodies = [
      null,
      0,
      -1.5,
      'ünï "q" \u0001',
      true,
      [],
      {},
      [1, [2, { a: null }]],
      { big: 'x'.repeat(5000) },
      1e15,
      'a\u0000b',
      { '\u0000': 1 },
      JSON.parse('['.repeat(200) + ']'.repeat(200)),
    ];
    const ids = await sent(api, name, bodies);
    const { body } = await api.call('receiveMessages', {
      path: { queue: name },
      body: { max: 100 },
      expect: 200,
    });
    same(
      body.messages.map((one) => one.body),
      bodies,
      'the bodies',
    );
    same(
      body.messages.map((one) => one.id),
      ids,
      'the ids',
    );
    const read = await api.call('getMessage', { path: { queue: name, id: ids[8] }, expect: 200 });
    same(read.body.body, bodies[8], 'the body');
  });
  t('attributes are any JSON, and go along to the dead-letter queue', async (api) => {
    const order = key('order');
    const attributes = { text: 'x', n: 1.5, yes: true, nothing: null, list: [1, { '\u0000': '\u0000' }] };
    await api.call('putQueue', { path: { queue: order }, body: { dead_letter: `${order}~dead` }, expect: 201 });
    await sent(api, order, [{ body: 1, attributes }]);
    const receive = async (queue) =>
      (await api.call('receiveMessages', { path: { queue }, expect: 200 })).body.messages[0];
    const message = await receive(order);
    same(message.attributes, attributes, 'the attributes');
    const body = { rejects: [{ receipt: message.receipt }] };
    await api.call('settleMessages', { path: { queue: order }, body, expect: 200 });
    const { dead_letter_reason, dead_letter_source, ...rest } = (await receive(`${order}~dead`)).attributes;
    same(rest, attributes, 'the attributes');
    same([dead_letter_reason, dead_letter_source], ['rejected', order], 'what a dead letter says');
  });
  t('sendMessages answers a second message of the same dedup_id with the first one’s id', async (api) => {
    const name = await queue(api);
    const messages = [
      { body: 1, dedup_id: 'a' },
      { body: 2, dedup_id: 'b' },
    ];
    const send = (list) =>
      api.call('sendMessages', { path: { queue: name }, body: { messages: list }, expect: 201 });
    const first = await send(messages);
    const again = await send([messages[1], { body: 3, dedup_id: 'c' }]);
    same(
      first.body.messages.map((one) => one.deduplicated),
      [false, false],
      'deduplicated',
    );
    same(
      again.body.messages.map((one) => one.deduplicated),
      [true, false],
      'deduplicated',
    );
    same(again.body.messages[0].id, first.body.messages[1].id, 'the id');
  });
  t('sendMessages with an Idempotency-Key sends once', async (api) => {
    const name = await queue(api);
    const call = { path: { queue: name }, headers: { 'Idempotency-Key': key('k') } };
    const first = await api.call('sendMessages', { ...call, body: { messages: [{ body: 1 }] }, expect: 201 });
    const again = await api.call('sendMessages', { ...call, body: { messages: [{ body: 1 }] }, expect: 201 });
    same(again.text, first.text, 'the second answer');
    await api.call('sendMessages', {
      ...call,
      body: { messages: [{ body: 2 }] },
      expect: '422 idempotency-key-reused',
    });
    same((await api.call('getQueue', { path: { queue: name }, expect: 200 })).body.ready, 1, 'ready');
  });
  t('sendMessages refuses what no message may be', async (api) => {
    const name = await queue(api);
    const refused = (message, options) =>
      api.call('sendMessages', {
        path: { queue: name },
        body: { messages: [message] },
        expect: '400 invalid-field',
        ...options,
      });
    await refused({ body: 1, delay_ms: 5, deliver_at: '2026-01-01T00:00:00.000Z' });
    await refused({ body: 1, deliver_at: 'tomorrow' }, { invalid: true });
    await refused({ body: 1, deliver_at: '2999-01-01T00:00:00.000Z' });
    await refused({ body: 1, attributes: ['a'] }, { invalid: true });
    await refused({ body: 1, group: 'a\u0000' });
    await refused({ body: 1, attributes: { '': 'x' } });
    await refused(
      { body: 1, attributes: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`a${i}`, 'x'])) },
      { invalid: true },
    );
    const many = Array.from({ length: 1001 }, () => ({ body: 1 }));
    await api.call('sendMessages', {
      path: { queue: name },
      body: { messages: many },
      invalid: true,
      expect: '400 invalid-field',
    });
    same((await api.call('getQueue', { path: { queue: name }, expect: 200 })).body.ready, 0, 'ready');
  });
  t('sendMessages takes 1000 at once', async (api) => {
    const ids = await sent(
      api,
      await queue(api),
      Array.from({ length: 1000 }, (_, i) => i),
    );
    same(new Set(ids).size, 1000, 'the ids');
  });
  t('sendMessages refuses what a queue at its max_depth cannot take', async (api) => {
    const name = await queue(api, { max_depth: 2 });
    await sent(api, name, [1]);
    await sent(api, name, [2, 3], '429 queue-full');
    const body = { messages: [{ body: 2 }, { body: 3 }], atomic: false };
    const { body: answer } = await api.call('sendMessages', { path: { queue: name }, body, expect: 201 });
    check(answer.messages[0].id !== undefined, 'the first is taken');
    same(answer.messages[1].code, 'queue-full', 'the second is refused with the code');
  });
  t('sendMessages refuses what comes faster than the rate', async (api) => {
    const name = await queue(api, { rate: { per_s: 1, burst: 2 } });
    await sent(api, name, [1, 2]);
    await sent(api, name, [3, 4], '429 rate-limited');
  });
}

export default function queues(t) {
  configuring(t);
  reading(t);
  sending(t);
}
