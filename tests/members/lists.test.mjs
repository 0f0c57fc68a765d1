// A list over all partitions, one of which cannot be read: its owner says so, and lives.
import assert from 'node:assert/strict';
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, expect } from './members.mjs';

const cluster = new Cluster({ partitions: 4, replicas: 1 });
let [a, b] = [];

before(async () => {
  a = await cluster.found('n1');
  b = await cluster.join('n2');
  await cluster.placed();
});

after(() => cluster.stopWell());

// The databases of that member's partitions; who has not read them yet opens them when asked.
const databases = (member) =>
  readdirSync(member.data, { recursive: true })
    .map((name) => join(member.data, name))
    .filter((path) => path.endsWith('.db'));

test('a list that cannot be read is refused by its owner, and so by who asks the owner', async () => {
  const files = databases(a);
  assert.ok(files.length > 0);
  for (const file of files) renameSync(file, `${file}.away`);
  for (const member of [a, b]) {
    const { body } = expect(await member.ask('GET', '/v1/queues'), 503);
    assert.equal(body.code, 'storage-unavailable');
  }
  for (const file of files) renameSync(`${file}.away`, file);
  for (const member of [a, b]) expect(await member.ask('GET', '/v1/queues'), 200);
});
