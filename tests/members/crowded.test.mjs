// A member with no room for one more that waits: what it has forwarded does not wait elsewhere without it either.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster, expect, until } from './members.mjs';

const cluster = new Cluster({ partitions: 4 });
let [a, b] = [];

before(async () => {
  a = await cluster.found('n1');
  b = await cluster.start('n2', ['--join', new URL(a.base).host, '--max-parked', '1']);
  await cluster.join('n3');
  await cluster.placed();
});

after(() => cluster.stopWell());

async function ownedBy(member) {
  for (let i = 0; ; i++) {
    const { body } = await member.ask('GET', `/v1/ring/lookup?name=l${i}`);
    if (body.owner === member.name) return body.name;
  }
}

test('a forwarded wait for which there is no room is refused, and its place in the line given up', async () => {
  const name = await ownedBy(a);
  const lease = (id, wait_ms) => ['PUT', `/v1/locks/${name}/leases/${id}`, { owner: id, ttl_ms: 60000, wait_ms }];
  const waiters = async () => (await a.ask('GET', `/v1/locks/${name}`)).body.waiters.length;
  expect(await a.ask(...lease('holder', 0)), 201);
  const first = b.ask(...lease('first', 60000));
  await until(async () => (await waiters()) === 1);
  const second = expect(await b.ask(...lease('second', 60000)), 503);
  assert.equal(second.body.code, 'too-many-parked');
  await until(async () => (await waiters()) === 1, 5);
  expect(await a.ask('DELETE', `/v1/locks/${name}/leases/holder`), 204);
  expect(await first, 201);
});
