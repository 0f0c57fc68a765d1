// Clients that hang up while their requests look for an owner: nobody is told, and no member minds.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster, pause } from './members.mjs';

const REQUESTS = 40;
const cluster = new Cluster();
let [a, b, c] = [];

before(async () => {
  [a, b, c] = await cluster.three();
});

after(() => cluster.stopWell());

test('a client that hangs up while no owner is to be found leaves nothing behind', async () => {
  await cluster.placed();
  for (const member of [b, c]) member.kill('SIGKILL');
  await Promise.all([b.exited, c.exited]);
  const asked = [...Array(REQUESTS).keys()].map(async (i) => {
    const signal = AbortSignal.timeout(300 + i * 10); // while it waits, or asks who is thought to be the owner
    const write = { method: 'PUT', body: '{"data":{}}', signal };
    return fetch(`${a.base}/v1/sessions/h-${i}`, i % 2 ? { signal } : write).catch((error) => error.name);
  });
  const ends = await Promise.all(asked);
  assert.ok(ends.filter((end) => end === 'TimeoutError').length > REQUESTS / 4, `${ends}`);
  await pause(100);
  assert.equal(a.child.signalCode, null, a.log);
  [b, c] = await Promise.all([b, c].map((member) => cluster.again(member)));
  await cluster.placed();
  assert.equal((await a.ask('GET', '/v1/status')).status, 200);
});
