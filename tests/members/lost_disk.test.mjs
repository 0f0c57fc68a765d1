// The founder's disk is lost, and --cluster-init is still among its flags: it makes no second cluster, and can join anew.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Cluster, settled } from './members.mjs';

const cluster = new Cluster({ partitions: 4 });
let [a, b] = [];

before(async () => {
  a = await cluster.found('n1');
  b = await cluster.join('n2');
  await cluster.join('n3');
  await cluster.placed();
  await cluster.status(a, (ring) => settled(ring) && ring.table.replicas.filter((r) => r.role === 'voter').length === 3);
  assert.equal((await a.ask('PUT', '/v1/sessions/kept', { data: {} })).status, 201);
  a.kill('SIGKILL');
  await a.exited;
  cluster.forget(a);
  rmSync(a.data, { recursive: true });
});

after(() => cluster.stop());

test('--cluster-init beside a cluster that looks for this member is refused', async () => {
  const second = await cluster.refused(a, '--cluster-init', '--partitions', '4');
  assert.equal(second.code, 1, second.err);
  assert.match(second.err, /would make a second one.*ringhold leave n1 --force.*--join HOST:PORT/);
});

test('what it says to do brings the member back under its name', async () => {
  const left = await cluster.admin(b, 'leave', 'n1', '--force');
  assert.equal(left.code, 0, left.err + cluster.members.map((m) => m.log.slice(-3000)).join('\n'));
  const again = await cluster.again(a, '--join', `127.0.0.1:${b.port}`);
  await cluster.placed();
  assert.equal((await again.ask('GET', '/v1/sessions/kept')).status, 200);
});
