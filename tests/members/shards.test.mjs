// A queue over several partitions: three members, and everything that a client may ask of a queue, through any of them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster, expect, pause } from './members.mjs';

const cluster = new Cluster();
let turn = 0;
const any = () => cluster.members[turn++ % cluster.members.length];

before(async () => {
  await cluster.three();
  await cluster.placed();
});

after(() => cluster.stopWell());

const ask = async (status, method, path, body, headers) =>
  expect(await any().ask(method, `/v1/queues/${path}`, body, headers), status).body;
const send = (queue, messages, more = {}) => ask(201, 'POST', `${queue}/messages`, { messages, ...more });
const receive = async (queue, more = {}) => (await ask(200, 'POST', `${queue}/receive`, more)).messages;
const settle = async (queue, body) => (await ask(200, 'POST', `${queue}/settle`, body)).results.map((r) => r.outcome);
const shardOf = (message) => Number(BigInt(message.id) >> 40n);
const counts = async (queue) => {
  const { ready, delayed, leased, dead } = await ask(200, 'GET', queue);
  return { ready, delayed, leased, dead };
};

async function drain(queue, max = 100) {
  const all = [];
  for (let got; (got = await receive(queue, { max })).length > 0; ) {
    all.push(...got);
    for (const outcome of await settle(queue, { acks: got.map((m) => m.receipt) })) assert.equal(outcome, 'acked');
  }
  return all;
}

test('messages spread over all shards, and each is received once', async () => {
  const made = await ask(201, 'PUT', 'hot', { shards: 6, routing: 'round_robin' });
  assert.equal(made.shards, 6);
  assert.equal(made.routing, 'round_robin');
  const sent = [];
  for (let i = 0; i < 60; i++) sent.push((await send('hot', [{ body: i }])).messages[0]);
  assert.equal(new Set(sent.map((m) => m.id)).size, 60);
  assert.equal(new Set(sent.map(shardOf)).size, 6);
  assert.deepEqual(await counts('hot'), { ready: 60, delayed: 0, leased: 0, dead: 0 });
  const got = await drain('hot', 7);
  assert.deepEqual(got.map((m) => m.body).sort((a, b) => a - b), [...Array(60).keys()]);
  assert.deepEqual(new Set(got.map((m) => m.id)), new Set(sent.map((m) => m.id)));
  assert.deepEqual(await counts('hot'), { ready: 0, delayed: 0, leased: 0, dead: 0 });
});

test('a receive takes no more than it asks for, and fills up from several shards', async () => {
  await send('hot', [{ body: 1 }]);
  await send('hot', [{ body: 2 }]);
  await send('hot', [{ body: 3 }]);
  assert.equal((await receive('hot', { max: 2, lease_ms: 60000 })).length, 2);
  assert.deepEqual(await counts('hot'), { ready: 1, delayed: 0, leased: 2, dead: 0 });
  await ask(200, 'POST', 'hot/purge', {});
  assert.deepEqual(await counts('hot'), { ready: 0, delayed: 0, leased: 0, dead: 0 });
});

test('a group keeps its order, and its shard', async () => {
  await ask(201, 'PUT', 'orders', { shards: 8 });
  for (let i = 0; i < 20; i++) {
    for (const group of ['a', 'b', 'c', 'd', 'e']) await send('orders', [{ body: i, group }]);
  }
  const next = new Map();
  const shards = new Map();
  for (const message of await drain('orders', 3)) {
    assert.equal(message.body, next.get(message.group) ?? 0, `group ${message.group}`);
    next.set(message.group, message.body + 1);
    shards.set(message.group, (shards.get(message.group) ?? new Set()).add(shardOf(message)));
  }
  for (const [group, n] of next) assert.equal(n, 20, group);
  for (const places of shards.values()) assert.equal(places.size, 1);
  assert.ok(new Set([...shards.values()].map((s) => [...s][0])).size > 1);
});

test('a dedup_id is one wherever it is sent', async () => {
  for (let i = 0; i < 10; i++) {
    const first = (await send('hot', [{ body: i, dedup_id: `d-${i}` }])).messages[0];
    const again = (await send('hot', [{ body: i, dedup_id: `d-${i}` }])).messages[0];
    assert.deepEqual([again.id, first.deduplicated, again.deduplicated], [first.id, false, true]);
  }
  assert.equal((await drain('hot')).length, 10);
});

test('a request that several shards would have to share is refused whole, or done in parts where it says so', async () => {
  const messages = ['a', 'b', 'c', 'd', 'e'].map((group) => ({ body: group, group }));
  const refused = await ask(422, 'POST', 'orders/messages', { messages });
  assert.equal(refused.code, 'cross-partition');
  assert.deepEqual(await counts('orders'), { ready: 0, delayed: 0, leased: 0, dead: 0 });
  const sent = await send('orders', messages, { atomic: false });
  assert.equal(sent.messages.length, 5);
  const got = await receive('orders', { max: 5 });
  const receipts = got.map((m) => m.receipt);
  assert.equal((await ask(422, 'POST', 'orders/settle', { acks: receipts, atomic: true })).code, 'cross-partition');
  assert.deepEqual(await settle('orders', { acks: receipts }), receipts.map(() => 'acked'));
  assert.deepEqual(await settle('orders', { acks: receipts }), receipts.map(() => 'already_acked'));
});

test('one message is read, cancelled and acknowledged by its id', async () => {
  const sent = [];
  for (let i = 0; i < 8; i++) sent.push((await send('hot', [{ body: i }])).messages[0].id);
  for (const [i, id] of sent.entries()) assert.equal((await ask(200, 'GET', `hot/messages/${id}`)).body, i);
  await ask(204, 'DELETE', `hot/messages/${sent[0]}`);
  await ask(410, 'DELETE', `hot/messages/${sent[0]}`);
  await ask(404, 'GET', `hot/messages/${63n << 40n}`);
  for (const m of await receive('hot', { max: 10 })) await ask(204, 'DELETE', `hot/messages/${m.id}`, undefined, { Receipt: m.receipt });
  assert.deepEqual(await counts('hot'), { ready: 0, delayed: 0, leased: 0, dead: 0 });
});

test('the list goes over all shards, page by page', async () => {
  for (let i = 0; i < 25; i++) await send('hot', [{ body: i }]);
  const bodies = [];
  for (let cursor = ''; cursor !== null; ) {
    const page = await ask(200, 'GET', `hot/messages?limit=4${cursor}`);
    assert.ok(page.items.length <= 4);
    bodies.push(...page.items.map((m) => m.body));
    cursor = page.next_cursor === undefined ? null : `&cursor=${page.next_cursor}`;
  }
  assert.deepEqual(bodies.sort((a, b) => a - b), [...Array(25).keys()]);
  assert.equal((await ask(200, 'POST', 'hot/purge', { state: 'ready' })).purged, 25);
});

test('GET /v1/queues shows the queue once, with its sums', async () => {
  for (let i = 0; i < 12; i++) await send('hot', [{ body: i }]);
  const names = [];
  let hot;
  for (let cursor = ''; cursor !== null; ) {
    const page = expect(await any().ask('GET', `/v1/queues?limit=1${cursor}`), 200).body;
    names.push(...page.items.map((q) => q.name));
    hot = page.items.find((q) => q.name === 'hot') ?? hot;
    cursor = page.next_cursor === undefined ? null : `&cursor=${page.next_cursor}`;
  }
  assert.deepEqual(names, ['hot', 'orders']);
  assert.equal(hot.ready, 12);
  assert.equal(hot.shard, undefined);
  await drain('hot');
});

test('a message as long as a body may be goes to any shard', async () => {
  await ask(201, 'PUT', 'long', { shards: 4, routing: 'round_robin' });
  const noise = [...Array(1048576)].map(() => String.fromCharCode(33 + ((Math.random() * 58) | 0))).join('');
  const body = noise.replaceAll('\\', '-').replaceAll('"', '-').slice(0, 1048576 - '{"messages":[{"body":""}]}'.length);
  for (let i = 0; i < 4; i++) await send('long', [{ body }]);
  for (let i = 0; i < 4; i++) {
    const got = await receive('long', { max: 4 });
    assert.ok(got.length > 0 || i > 0);
    for (const m of got) assert.equal(m.body, body);
    await settle('long', { acks: got.map((m) => m.receipt) });
  }
  assert.deepEqual(await counts('long'), { ready: 0, delayed: 0, leased: 0, dead: 0 });
  await ask(204, 'DELETE', 'long');
});

test('a parked receive is woken by a send to any shard', async () => {
  for (let i = 0; i < 12; i++) {
    const waits = receive('hot', { wait_ms: 20000 });
    await pause(30);
    const begun = Date.now();
    await send('hot', [{ body: i }]);
    const got = await waits;
    assert.ok(Date.now() - begun < 900, `after ${Date.now() - begun} ms`);
    assert.deepEqual(got.map((m) => m.body), [i]);
    await settle('hot', { acks: got.map((m) => m.receipt) });
  }
});

test('a parked receive is woken by a delay and by a lease that run out, on any shard', async () => {
  for (let i = 0; i < 6; i++) {
    await send('hot', [{ body: i, delay_ms: 300 }]);
    const got = await receive('hot', { wait_ms: 20000, lease_ms: 300 });
    assert.deepEqual(got.map((m) => m.body), [i]);
    const again = await receive('hot', { wait_ms: 20000 });
    assert.deepEqual([again[0].body, again[0].failures], [i, 1]);
    await settle('hot', { acks: [again[0].receipt] });
  }
});

test('a client that hangs up while it waits takes nothing', async () => {
  const leaving = new AbortController();
  for (const member of cluster.members) {
    const body = JSON.stringify({ wait_ms: 30000, max: 10 });
    fetch(`${member.base}/v1/queues/hot/receive`, { method: 'POST', body, signal: leaving.signal }).catch(() => {});
  }
  await pause(300);
  leaving.abort();
  await pause(300);
  for (let i = 0; i < 12; i++) await send('hot', [{ body: i }]);
  assert.deepEqual(await counts('hot'), { ready: 12, delayed: 0, leased: 0, dead: 0 });
  assert.equal((await drain('hot')).length, 12);
});

test('a pause is of all shards at once, and so is its end', async () => {
  for (let i = 0; i < 6; i++) await send('hot', [{ body: i }]);
  const paused = await ask(200, 'PATCH', 'hot', { paused: true });
  assert.equal(paused.ready, 6);
  for (const member of cluster.members) {
    const answer = await member.ask('POST', '/v1/queues/hot/receive', { max: 10 });
    assert.deepEqual(answer.body.messages, []);
  }
  const waits = receive('hot', { wait_ms: 20000, max: 10 });
  await pause(50);
  await ask(200, 'PATCH', 'hot', { paused: false });
  const got = await waits;
  assert.ok(got.length > 0);
  await settle('hot', { acks: got.map((m) => m.receipt) });
  await drain('hot');
});

test('max_depth and rate are the whole queue\'s', async () => {
  assert.equal((await ask(400, 'PUT', 'deep', { shards: 4, max_depth: 3 })).code, 'invalid-field');
  assert.equal((await ask(400, 'PUT', 'deep', { shards: 4, rate: { per_s: 1, burst: 3 } })).code, 'invalid-field');
  await ask(201, 'PUT', 'deep', { shards: 4, max_depth: 10, routing: 'least_loaded' });
  for (let i = 0; i < 10; i++) await send('deep', [{ body: i }]);
  assert.equal((await ask(429, 'POST', 'deep/messages', { messages: [{ body: 10 }] })).code, 'queue-full');
  assert.equal((await drain('deep')).length, 10);
  await ask(201, 'PUT', 'slow', { shards: 4, rate: { per_s: 1, burst: 6 } });
  for (let i = 0; i < 6; i++) await send('slow', [{ body: i }]);
  assert.equal((await ask(429, 'POST', 'slow/messages', { messages: [{ body: 6 }] })).code, 'rate-limited');
});

test('dead letters go to a queue that is spread alike, and come back', async () => {
  await ask(201, 'PUT', 'mail', { shards: 5, max_attempts: 1, dead_letter: 'mail~dead' });
  assert.equal((await ask(200, 'GET', 'mail~dead')).shards, 5);
  for (let i = 0; i < 10; i++) await send('mail', [{ body: i }]);
  const got = await receive('mail', { max: 10 });
  assert.equal(got.length, 10);
  await settle('mail', { nacks: got.map((m) => ({ receipt: m.receipt, reason: 'no' })) });
  assert.deepEqual(await counts('mail~dead'), { ready: 10, delayed: 0, leased: 0, dead: 0 });
  assert.equal((await ask(422, 'DELETE', 'mail~dead')).code, 'invalid-dead-letter');
  assert.equal((await ask(422, 'PATCH', 'mail~dead', { shards: 2 })).code, 'invalid-dead-letter');
  assert.equal((await drain('mail~dead')).length, 10);
  await ask(201, 'PUT', 'kept', { shards: 5, max_attempts: 1 });
  for (let i = 0; i < 10; i++) await send('kept', [{ body: i }]);
  const held = await receive('kept', { max: 10 });
  await settle('kept', { rejects: held.map((m) => ({ receipt: m.receipt })) });
  assert.deepEqual(await counts('kept'), { ready: 0, delayed: 0, leased: 0, dead: 10 });
  assert.equal((await ask(200, 'POST', 'kept/redrive', { max: 3 })).redriven, 3);
  assert.equal((await ask(200, 'POST', 'kept/redrive', { ids: held.map((m) => m.id) })).redriven, 7);
  assert.equal((await drain('kept')).length, 10);
});

test('the number of shards changes while nothing would lose its order by it', async () => {
  await ask(201, 'PUT', 'grown', { shards: 2 });
  for (let i = 0; i < 6; i++) await send('grown', [{ body: i }]);
  assert.equal((await ask(200, 'PATCH', 'grown', { shards: 7 })).shards, 7);
  for (let i = 6; i < 30; i++) await send('grown', [{ body: i }]);
  assert.equal((await counts('grown')).ready, 30);
  assert.equal((await ask(409, 'PATCH', 'grown', { shards: 2 })).code, 'queue-not-empty');
  assert.equal((await drain('grown')).length, 30);
  assert.equal((await ask(200, 'PATCH', 'grown', { shards: 2 })).shards, 2);
  await send('grown', [{ body: 1, group: 'g' }]);
  assert.equal((await ask(409, 'PATCH', 'grown', { shards: 7 })).code, 'queue-not-empty');
  assert.equal((await drain('grown')).length, 1);
  assert.equal((await ask(200, 'PATCH', 'grown', { shards: 7 })).shards, 7);
  for (let i = 0; i < 14; i++) await send('grown', [{ body: i, group: `g-${i}` }]);
  assert.equal((await drain('grown')).length, 14);
});

test('a queue is deleted with all its shards, and only when empty if that is asked', async () => {
  for (let i = 0; i < 9; i++) await send('grown', [{ body: i }]);
  assert.equal((await ask(409, 'DELETE', 'grown?if_empty=true')).code, 'queue-not-empty');
  for (let i = 9; i < 18; i++) await send('grown', [{ body: i }]); // sealed shards go on
  assert.equal((await counts('grown')).ready, 18);
  await ask(204, 'DELETE', 'grown');
  await ask(404, 'GET', 'grown');
  await ask(404, 'POST', 'grown/receive', {});
  await ask(201, 'PUT', 'grown', { shards: 7 });
  assert.deepEqual(await counts('grown'), { ready: 0, delayed: 0, leased: 0, dead: 0 });
  await ask(204, 'DELETE', 'grown?if_empty=true');
});

test('a POST is repeated with its Idempotency-Key', async () => {
  for (let i = 0; i < 8; i++) {
    const key = { 'Idempotency-Key': `s-${i}` };
    const first = await ask(201, 'POST', 'hot/messages', { messages: [{ body: i }] }, key);
    const again = expect(await any().ask('POST', '/v1/queues/hot/messages', { messages: [{ body: i }] }, key), 201);
    assert.deepEqual(again.body, first);
    assert.equal(again.headers.get('idempotent-replayed'), 'true');
  }
  const key = { 'Idempotency-Key': 'r' };
  const first = await ask(200, 'POST', 'hot/receive', { max: 5 }, key);
  const again = await ask(200, 'POST', 'hot/receive', { max: 5 }, key);
  const ids = (answer) => answer.messages.map((m) => [m.id, m.receipt]);
  assert.deepEqual(ids(again), ids(first));
  assert.equal(first.messages.length, 5);
  await settle('hot', { acks: first.messages.map((m) => m.receipt) });
  assert.equal((await drain('hot')).length, 3);
});

test('a transaction has home\'s shard, and nothing else', async () => {
  const transact = (status, ...operations) =>
    any().ask('POST', '/v1/transactions', { operations }).then((answer) => expect(answer, status).body);
  const post = (path, body) => ({ method: 'POST', path: `/v1/queues/${path}`, body });
  const done = await transact(200, post('hot/messages', { messages: [{ body: 'in' }] }));
  assert.equal(shardOf(done.results[0].body.messages[0]), 0);
  const [got] = await receive('hot');
  await transact(200, post('hot/settle', { acks: [got.receipt] }));
  let far;
  for (let i = 0; far === undefined; i++) {
    await send('hot', [{ body: i, group: `t-${i}` }]);
    const [message] = await receive('hot');
    if (shardOf(message) !== 0) far = message;
    else await settle('hot', { acks: [message.receipt] });
  }
  const failed = await transact(409, post('hot/settle', { acks: [far.receipt] }));
  assert.equal(failed.problem.code, 'cross-partition');
  const group = await transact(409, post('hot/messages', { messages: [{ body: 1, group: far.group }] }));
  assert.equal(group.problem.code, 'cross-partition');
  const whole = await transact(409, { method: 'GET', path: '/v1/queues/hot' });
  assert.equal(whole.problem.code, 'cross-partition');
  await settle('hot', { acks: [far.receipt] });
});

test('what is sent through any member right after the queue was deleted is in the one that is made then', async () => {
  for (let round = 0; round < 8; round++) {
    await ask(201, 'PUT', 'brief', { shards: 6, routing: 'round_robin' });
    for (let i = 0; i < 6; i++) await send('brief', [{ body: 'old' }]);
    await ask(204, 'DELETE', 'brief');
    await Promise.all([0, 1, 2, 3, 4, 5].map((i) => send('brief', [{ body: i }])));
    assert.deepEqual(await counts('brief'), { ready: 6, delayed: 0, leased: 0, dead: 0 });
    const bodies = (await drain('brief')).map((m) => m.body);
    assert.deepEqual(bodies.sort((a, b) => a - b), [0, 1, 2, 3, 4, 5]);
    await ask(204, 'DELETE', 'brief');
  }
});

test('a group has one shard through every member, however often their number changes', async () => {
  await ask(201, 'PUT', 'turning', { shards: 2 });
  for (const shards of [7, 3, 8, 2, 5]) {
    await ask(200, 'PATCH', 'turning', { shards });
    const groups = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (let i = 0; i < 3; i++) await Promise.all(groups.map((group) => send('turning', [{ body: i, group }])));
    const places = new Map();
    const next = new Map();
    for (const message of await drain('turning', 2)) {
      assert.equal(message.body, next.get(message.group) ?? 0, `group ${message.group}`);
      next.set(message.group, message.body + 1);
      places.set(message.group, (places.get(message.group) ?? new Set()).add(shardOf(message)));
    }
    assert.deepEqual([...next.values()], groups.map(() => 3));
    for (const place of places.values()) assert.equal(place.size, 1);
  }
});

test('a receive asks all shards at once, and is answered by those that can', async () => {
  await ask(201, 'PUT', 'still', { shards: 8, routing: 'round_robin', lease_ms: 2000, max_attempts: 0 });
  for (let i = 0; i < 24; i++) await send('still', [{ body: i }]);
  const [asked, , standing] = cluster.members;
  standing.kill('SIGSTOP');
  const begun = Date.now();
  const answer = expect(await asked.ask('POST', '/v1/queues/still/receive', { max: 24 }), 200).body;
  const took = Date.now() - begun;
  assert.ok(answer.messages.length > 0 && answer.messages.length <= 24);
  assert.ok(took < 8000, `after ${took} ms`);
  await pause(500);
  standing.kill('SIGCONT');
  // Whatever was leased then, to us or to an answer that never came, is there again when its lease is over.
  const seen = new Set();
  const end = Date.now() + 20000;
  while (seen.size < 24 && Date.now() < end) {
    const got = await receive('still', { max: 24, wait_ms: 1000 });
    for (const message of got) seen.add(message.body);
    await settle('still', { acks: got.map((m) => m.receipt) });
  }
  assert.equal(seen.size, 24);
  assert.deepEqual(await counts('still'), { ready: 0, delayed: 0, leased: 0, dead: 0 });
});

test('a member is killed under load, and every message that was acknowledged is received', async () => {
  await ask(201, 'PUT', 'load', { shards: 8, lease_ms: 3000, max_attempts: 0 });
  const acked = new Set();
  const received = new Map();
  let sending = true;
  let over = false;
  let members = [...cluster.members];
  const pick = () => members[turn++ % members.length];
  const sender = async (id) => {
    for (let n = 0; sending; n++) {
      const body = `${id}-${n}`;
      const messages = [n % 2 === 0 ? { body } : { body, group: `g-${id}` }];
      const answer = await pick().ask('POST', '/v1/queues/load/messages', { messages }).catch(() => null);
      if (answer?.status === 201) acked.add(body);
    }
  };
  const receiver = async () => {
    while (!over) {
      const answer = await pick().ask('POST', '/v1/queues/load/receive', { max: 10, wait_ms: 500 }).catch(() => null);
      if (answer?.status !== 200) continue;
      for (const m of answer.body.messages) received.set(m.body, (received.get(m.body) ?? 0) + 1);
      const acks = answer.body.messages.map((m) => m.receipt);
      if (acks.length > 0) await pick().ask('POST', '/v1/queues/load/settle', { acks }).catch(() => null);
    }
  };
  const senders = Promise.all([...Array(6).keys()].map(sender));
  const receivers = Promise.all([...Array(4).keys()].map(receiver));
  await pause(1500);
  const killed = cluster.members[2];
  members = members.slice(0, 2);
  killed.kill('SIGKILL');
  await killed.exited;
  await pause(4000);
  sending = false;
  await senders;
  const end = Date.now() + 30000;
  while ([...acked].some((body) => !received.has(body)) && Date.now() < end) await pause(100);
  over = true;
  await receivers;
  const lost = [...acked].filter((body) => !received.has(body));
  assert.ok(acked.size > 100, `${acked.size} were acknowledged`);
  assert.deepEqual(lost, []);
  await cluster.again(killed);
  await cluster.placed();
});
