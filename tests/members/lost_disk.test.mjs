// The founder's disk is lost, and --cluster-init is still among its flags: it makes no second cluster, and can join anew. So
// can one whose log was altered, once it has been taken out. One that was stopped while it joined goes on with it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { BINARY } from '../http/server.mjs';
import { Cluster, pause, settled, until } from './members.mjs';

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

test('a member whose log was altered says so and what to do, and does not start', async () => {
  const member = cluster.members.find((one) => one.name === 'n1');
  await member.stop();
  cluster.forget(member);
  const file = join(member.data, 'log.db');
  const bytes = readFileSync(file);
  // The session stands in an entry of the log, and perhaps where one lay before.
  let at = bytes.indexOf('kept');
  assert.ok(at >= 0);
  for (; at >= 0; at = bytes.indexOf('kept', at)) bytes[at] ^= 1;
  writeFileSync(file, bytes);
  const refused = await cluster.refused(member);
  assert.equal(refused.code, 1, refused.err);
  assert.match(refused.err, /log\.db is damaged.*take this member out, and have it join again with an empty directory/);
  const left = await cluster.admin(b, 'leave', 'n1', '--force');
  assert.equal(left.code, 0, left.err);
  rmSync(member.data, { recursive: true });
  const again = await cluster.again(member, '--join', `127.0.0.1:${b.port}`);
  await cluster.placed();
  assert.equal((await again.ask('GET', '/v1/sessions/kept')).status, 200);
});

// Starts a member, and kills it as soon as it knows its cluster, before it can know the others. Returns where it is.
async function killedWhileJoining(name, flags) {
  const place = await cluster.place();
  const data = join(cluster.dir, name);
  const member = ['--peer', place.peer, '--cluster-secret-file', cluster.secret, '--node', name];
  const child = spawn(BINARY, ['--listen', '127.0.0.1:0', '--data', data, ...member, ...flags], { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  while (!existsSync(join(data, 'cluster'))) await pause(1);
  child.kill('SIGKILL');
  await exited;
  return { name, place, data };
}

test('a member that is killed while it joins goes on with that when it is started again', async () => {
  const flags = ['--join', `127.0.0.1:${b.port}`];
  for (const name of ['n5', 'n6']) {
    const old = await killedWhileJoining(name, flags);
    const without = await cluster.refused(old);
    if (without.code !== null) assert.match(without.err, /stopped while it joined.*pass --join HOST:PORT once more/);
    const again = await cluster.again(old, ...flags);
    await until(async () => (await again.ask('GET', '/readyz')).status === 200);
    assert.equal((await again.ask('GET', '/v1/sessions/kept')).status, 200);
  }
  await cluster.settled((ring) => ring.members.length === 5 && ring.members.every((m) => m.state === 'active'));
});
