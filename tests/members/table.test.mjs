// The cluster's table on a member whose disk fails it for a while.
import assert from 'node:assert/strict';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, pause } from './members.mjs';

const cluster = new Cluster({ partitions: 4 });

before(async () => {
  await cluster.found('n1');
  await cluster.join('n2');
  await cluster.join('n3');
});

after(async () => {
  const ends = await cluster.stop();
  for (const end of ends) assert.equal(end.code, 0, JSON.stringify(end));
});

async function until(holds) {
  const end = Date.now() + 20000;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `it did not come to be: ${holds}`);
    await pause(20);
  }
}

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
