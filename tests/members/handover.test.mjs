// Leading goes from one member to another, and back, while clients wait, write, list and commit transactions.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { writers } from './load.mjs';
import { Cluster, expect, pause, until } from './members.mjs';

const cluster = new Cluster();
let [a, b, c] = [];

before(async () => {
  [a, b, c] = await cluster.three();
  await cluster.placed();
});

after(() => cluster.stopWell());

const leads = (ring, member) => ring.partitions.filter((p) => p.owner === member.name).length;
const ringOf = async (member) => (await member.ask('GET', '/v1/ring')).body;

// b ends, and what it led is led by the others; then comes back, and is given its share again.
async function withoutB(then) {
  const end = await b.stop();
  assert.equal(end.code, 0, b.log);
  await until(async () => leads(await ringOf(a), b) === 0 && leads(await ringOf(c), b) === 0);
  await then();
  b = await cluster.again(b);
  await cluster.placed();
}

test('a client that hangs up after others have begun to lead is noticed', async () => {
  const names = [...Array(16).keys()].map((i) => `left-${i}`);
  const leaving = new AbortController();
  const early = [];
  const count = async () => {
    const locks = await Promise.all(names.map((name) => a.ask('GET', `/v1/locks/${name}`)));
    return locks.reduce((sum, lock) => sum + expect(lock, 200).body.waiters.length, 0);
  };
  await withoutB(async () => {
    for (const name of names) expect(await a.ask('PUT', `/v1/locks/${name}/leases/x`, { owner: 'x', ttl_ms: 120000 }), 201);
    for (const name of names) {
      for (const member of [a, c]) {
        const owner = `${member.name}-${name}`; // of one line: owners who wait for each other would be a deadlock
        const body = JSON.stringify({ owner, wait_ms: 60000, ttl_ms: 120000 });
        const url = `${member.base}/v1/locks/${name}/leases/${member.name}`;
        const note = async (answer) => early.push(`${answer.status} ${await answer.text()}`);
        fetch(url, { method: 'PUT', body, signal: leaving.signal }).then(note).catch(() => {});
      }
    }
    await until(async () => {
      assert.deepEqual(early, []);
      return (await count()) === 2 * names.length;
    });
  });
  assert.deepEqual(early, []);
  assert.equal(await count(), 2 * names.length, 'their places survive');
  leaving.abort();
  await until(async () => (await count()) === 0, 10);
});

test('a member that is stopped under load leaves no outcome unknown', async () => {
  for (let round = 0; round < 3; round++) {
    const load = writers([a, c], 64);
    await pause(700);
    await withoutB(() => pause(300));
    await load.end();
    assert.deepEqual([...load.refused], [], `round ${round}`);
    for (const [key, n] of load.acked) {
      const { body } = expect(await b.ask('GET', `/v1/sessions/${key}`), 200);
      assert.ok(body.data.n >= n, `${key} is at ${body.data.n}, ${n} was acknowledged`);
    }
  }
});

test('a transaction is whole or nothing, through whichever member, while leading moves', async () => {
  const KEYS = 6;
  const members = [a, c];
  const path = (i, what) => `/v1/sessions/t-${i}~${what}`;
  const done = Array(KEYS).fill(0);
  let over = false;
  const codes = new Map();
  const commit = async (i) => {
    for (let n = 1; !over; n++) {
      const put = (what) => ({ method: 'PUT', path: path(i, what), body: { data: { n } } });
      const member = members[(i + n) % 2];
      const { status, body } = await member.ask('POST', '/v1/transactions', { operations: [put('left'), put('right')] });
      if (status === 200) done[i] = n;
      else codes.set(body.code, (codes.get(body.code) ?? 0) + 1);
    }
  };
  const all = Promise.all([...Array(KEYS).keys()].map(commit));
  await pause(500);
  await withoutB(() => pause(300));
  over = true;
  await all;
  assert.deepEqual([...codes], []);
  for (let i = 0; i < KEYS; i++) {
    const [left, right] = [expect(await b.ask('GET', path(i, 'left')), 200), expect(await a.ask('GET', path(i, 'right')), 200)];
    assert.deepEqual(left.body.data, right.body.data);
    assert.ok(left.body.data.n >= done[i], `${left.body.data.n} of ${done[i]}`);
  }
  const fails = [
    { method: 'PUT', path: path(0, 'left'), body: { data: { n: -1 } } },
    { method: 'GET', path: '/v1/locks/t-0~none/fences/41' },
  ];
  for (const member of cluster.members) {
    const refused = expect(await member.ask('POST', '/v1/transactions', { operations: fails }), 409);
    assert.equal(refused.body.code, 'transaction-failed');
    assert.equal(refused.body.index, 1);
  }
  assert.ok(expect(await c.ask('GET', path(0, 'left')), 200).body.data.n > 0, 'nothing of it is left');
});

test('a list that is read page by page while leading moves has everything, once and in order', async () => {
  const names = [...Array(40).keys()].map((i) => `page-${String(i).padStart(2, '0')}`);
  for (const name of names) expect(await a.ask('PUT', `/v1/queues/${name}`, {}), 201);
  let over = false;
  let read = 0;
  const page = async (member) => {
    while (!over) {
      const seen = [];
      let cursor = '';
      do {
        const { body } = expect(await member.ask('GET', `/v1/queues?prefix=page-&limit=7${cursor}`), 200);
        seen.push(...body.items.map((queue) => queue.name));
        cursor = body.next_cursor === undefined ? '' : `&cursor=${body.next_cursor}`;
      } while (cursor !== '');
      assert.deepEqual(seen, names);
      read++;
    }
  };
  const all = Promise.all([a, c].map(page));
  await pause(300);
  await withoutB(() => pause(300));
  over = true;
  await all;
  assert.ok(read > 2, `${read} times`);
});
