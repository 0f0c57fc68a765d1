// The cluster's table on a member whose disk fails it for a while.
import assert from 'node:assert/strict';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, until } from './members.mjs';

const cluster = new Cluster({ partitions: 4 });

before(async () => {
  await cluster.three();
});

after(() => cluster.stopWell());

const ringOf = async (member) => (await member.ask('GET', '/v1/ring')).body;

test('a member that could not store the table follows it again when it can', async () => {
  await cluster.placed();
  for (const member of [cluster.members[1], cluster.members[0]]) {
    const inTheWay = join(member.data, 'table.tmp'); // what the table is written to first
    mkdirSync(inTheWay);
    const name = `n${cluster.members.length + 1}`;
    await cluster.start(name, ['--join', `127.0.0.1:${cluster.members[2].port}`]);
    await until(() => member.log.includes('council-stopped'));
    rmdirSync(inTheWay);
    await until(async () => (await ringOf(member)).members.some((m) => m.name === name));
    await until(async () => (await ringOf(member)).epoch === (await ringOf(cluster.members[2])).epoch);
  }
});
