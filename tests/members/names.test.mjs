// Members that know each other by name, as containers do.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster } from './members.mjs';

// In the hosts file whatever its case, and not the spelling that is taken for a number.
const cluster = new Cluster({ partitions: 4, host: 'LocalHost' });

before(async () => {
  await cluster.three();
});

after(() => cluster.stopWell());

test('members find each other by name, and tell who joins by name', async () => {
  await cluster.placed();
  const [a, b, c] = cluster.members;
  assert.match(a.place.peer, /^LocalHost:/);
  const ring = await a.ask('GET', '/v1/ring');
  assert.equal(ring.headers.get('ringhold-peer'), a.place.peer);
  for (let i = 0; i < 8; i++) {
    assert.equal((await b.ask('PUT', `/v1/sessions/s-${i}`, { data: { i } })).status, 201);
    assert.deepEqual((await c.ask('GET', `/v1/sessions/s-${i}`)).body.data, { i });
  }
});
