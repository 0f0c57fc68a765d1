// Who leads falls silent in the middle of requests that others have passed on to it: they end as soon as another leads,
// and what comes meanwhile waits for the election.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster, expect, pause } from './members.mjs';

const ANSWER_MS = 10_000; // what a request is given that was passed on; and what it waits itself, beside
const cluster = new Cluster();

before(async () => {
  await cluster.three();
});

after(() => cluster.stopWell());

async function ledBy(owner, prefix) {
  for (let i = 0; ; i++) {
    const { body } = await cluster.members[0].ask('GET', `/v1/ring/lookup?name=${prefix}-${i}`);
    if (body.owner === owner.name) return `${prefix}-${i}`;
  }
}

test('requests to a leader that hangs end when another leads, and none is made to wait for it', async () => {
  await cluster.placed();
  const [asked, , silent] = cluster.members;
  const name = await ledBy(silent, 'silent');
  const path = `/v1/sessions/${name}`;
  expect(await asked.ask('PUT', path, { data: { n: 1 } }), 201);
  expect(await asked.ask('PUT', `/v1/queues/${name}`, {}), 201);
  silent.kill('SIGSTOP');
  try {
    const over = pause(0.8 * ANSWER_MS).then(() => null);
    const first = (answer) => Promise.race([answer, over]);
    const writes = [2, 3, 4].map((n) => first(asked.ask('PUT', path, { data: { n } })));
    const waits = first(asked.ask('POST', `/v1/queues/${name}/receive`, { wait_ms: 20_000 }));
    const read = first(asked.ask('GET', path));
    for (const write of await Promise.all(writes)) {
      assert.ok(write !== null, 'a write waits for who leads no more');
      assert.equal(expect(write, 503).body.code, 'outcome-unknown');
    }
    assert.ok((await read) !== null, 'a read waits for who leads no more');
    assert.equal(expect(await read, 200).body.data.n, 1); // none of the writes was taken in
    const waited = await waits;
    assert.ok(waited !== null, 'a long poll waits for who leads no more');
    assert.equal(expect(waited, 503).body.code, 'outcome-unknown');
    expect(await asked.ask('PUT', path, { data: { n: 5 } }), 200);
  } finally {
    silent.kill('SIGCONT');
  }
  await cluster.placed();
  assert.equal(expect(await asked.ask('GET', path), 200).body.data.n, 5);
});

test('a request that comes during an election waits for it', async () => {
  await cluster.placed();
  const [asked, , silent] = cluster.members;
  const name = await ledBy(silent, 'elected');
  silent.kill('SIGKILL');
  await silent.exited;
  const until = Date.now() + 1500;
  for (let i = 0; Date.now() < until; i++) {
    const answer = await asked.ask('PUT', `/v1/sessions/${name}`, { data: { i } });
    if (answer.status === 503) assert.equal(answer.body.code, 'outcome-unknown'); // on its way as it died
    else assert.ok([200, 201].includes(answer.status), JSON.stringify(answer));
  }
  assert.equal(expect(await asked.ask('GET', `/v1/sessions/${name}`), 200).body.id, name);
  await cluster.again(silent);
  await cluster.placed();
});
