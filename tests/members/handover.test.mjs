// Leading goes from one member to another, and back, while clients wait, write, list and commit transactions.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { writers } from './load.mjs';
import { Cluster, pause } from './members.mjs';

const cluster = new Cluster();
let [a, b, c] = [];

before(async () => {
  a = await cluster.found('n1');
  b = await cluster.join('n2');
  c = await cluster.join('n3');
  await cluster.placed();
});

after(async () => {
  const ends = await cluster.stop();
  for (const end of ends) assert.equal(end.code, 0, JSON.stringify(end));
});

const expect = (answer, status) => {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  return answer;
};

async function until(holds, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `it did not come to be: ${holds}`);
    await pause(20);
  }
}

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
    await until(async () => (await count()) === 2 * names.length);
  });
  assert.deepEqual(early, []);
  assert.equal(await count(), 2 * names.length, 'their places survive');
  leaving.abort();
  await until(async () => (await count()) === 0, 10);
});

test('a member that is stopped under load leaves no outcome unknown', async () => {
  for (let round = 0; round < 3; round++) {
    const load = writers([a, c]);
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
