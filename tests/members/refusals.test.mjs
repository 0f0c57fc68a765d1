// What a member is refused with at its start: a sentence each, and nothing is changed.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { BINARY, Server } from '../http/server.mjs';
import { Cluster, freePort } from './members.mjs';

const cluster = new Cluster();
const dir = mkdtempSync(join(tmpdir(), 'ringhold-refusals-'));
let first;

before(async () => {
  first = await cluster.found();
});

after(async () => {
  await cluster.stop();
  rmSync(dir, { recursive: true, force: true });
});

let count = 0;
function refused(args, sentence) {
  const data = join(dir, `d${count++}`);
  const all = ['--listen', '127.0.0.1:0', '--data', data, '--node', `r${count}`, ...args];
  const { status, stderr } = spawnSync(BINARY, all, { timeout: 60000, encoding: 'utf8' });
  assert.ok(status === 1 || status === 2, `exit code ${status}: ${stderr}`);
  assert.match(stderr, sentence);
}

const member = (secret = cluster.secret) => ['--peer', '127.0.0.1:1', '--cluster-secret-file', secret];
const PEER = ['--peer', `127.0.0.1:${await freePort()}`];

test('a member needs a secret', () => {
  refused([...PEER, '--cluster-init'], /needs --cluster-secret-file/);
  refused([...PEER, '--cluster-init', '--cluster-secret-file', join(dir, 'none')], /cannot read/);
  writeFileSync(join(dir, 'short'), 'short\n');
  refused([...PEER, '--cluster-init', '--cluster-secret-file', join(dir, 'short')], /must hold/);
});

test('a member says where others reach it, and stores what it acknowledges', () => {
  const secret = ['--cluster-secret-file', cluster.secret, '--cluster-init'];
  refused(['--peer', '0.0.0.0:47481', ...secret], /--peer is told to the other members.*pass its own address or name/);
  refused(['--peer', 'no-such-host.invalid:47481', ...secret], /has no address here/);
  refused([...PEER, ...secret, '--durability', 'relaxed'], /--durability relaxed is for an instance alone/);
});

test('an empty directory belongs to no cluster', () => {
  refused([...PEER, '--cluster-secret-file', cluster.secret], /belongs to no cluster yet/);
});

test('who is told to stop while it asks to be let in stops', async () => {
  const deaf = createServer(() => {}); // takes connections, and says nothing
  await new Promise((resolve) => deaf.listen(0, '127.0.0.1', resolve));
  const asks = ['--join', `127.0.0.1:${deaf.address().port}`];
  const data = ['--listen', '127.0.0.1:0', '--data', join(dir, 'patient'), '--node', 'patient'];
  const child = spawn(BINARY, [...data, ...PEER, '--cluster-secret-file', cluster.secret, ...asks], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk) => (said += chunk));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const asked = new Promise((resolve) => deaf.once('connection', resolve));
  await asked;
  child.kill('SIGTERM');
  assert.equal(await exited, 1);
  assert.match(said, /told to stop before it had joined/);
  deaf.close();
});

test('who has another secret is not let in', () => {
  const other = join(dir, 'other');
  writeFileSync(other, 'quite another secret than theirs\n');
  const join_ = ['--join', `127.0.0.1:${first.port}`];
  refused([...PEER, '--cluster-secret-file', other, ...join_], /does not let this node in: wrong-secret/);
});

test('what is no member cannot be joined', async () => {
  const alone = await Server.start();
  try {
    const args = [...PEER, '--cluster-secret-file', cluster.secret, '--join', `127.0.0.1:${alone.port}`];
    refused(args, /is not the HTTP address of a cluster's member/);
  } finally {
    await alone.stop();
  }
});

test('two members do not share a name', () => {
  const args = [...PEER, '--cluster-secret-file', cluster.secret, '--node', 'n1'];
  refused([...args, '--join', `127.0.0.1:${first.port}`], /does not take it: .*name/);
});

test('a member serves no directory of an instance alone, nor an instance alone a member\'s', async () => {
  const alone = await Server.start({ data: join(dir, 'alone') });
  await alone.stop();
  const as = (data, args) => spawnSync(BINARY, ['--listen', '127.0.0.1:0', '--data', data, ...args], { encoding: 'utf8' });
  const mixed = as(alone.data, [...member(), '--cluster-init']);
  assert.equal(mixed.status, 1);
  assert.match(mixed.stderr, /holds the state of an instance alone/);
  const other = new Cluster();
  const gone = await other.found();
  await gone.stop();
  const without = as(gone.data, []);
  assert.equal(without.status, 1);
  assert.match(without.stderr, /is a cluster member's/);
  rmSync(other.dir, { recursive: true, force: true });
});

test('the directory of another cluster does not join', async () => {
  const other = new Cluster();
  const gone = await other.found('o1');
  await gone.stop();
  const joins = await cluster.refused(gone, '--join', `127.0.0.1:${first.port}`);
  assert.equal(joins.code, 1, joins.err);
  assert.match(joins.err, /is the data directory of another cluster's member/);
  rmSync(other.dir, { recursive: true, force: true });
});

test('a cluster keeps the size that it was made with', async () => {
  const args = [...PEER, '--cluster-secret-file', cluster.secret, '--join', `127.0.0.1:${first.port}`];
  refused([...args, '--partitions', '16'], /has 8 partitions, for good, and --partitions says 16/);
  refused([...args, '--replicas', '5'], /has 3 replicas of each partition, for good, and --replicas says 5/);
  const again = new Cluster({ partitions: 2 });
  const gone = await again.found();
  await gone.stop();
  const other = await again.refused(gone, '--partitions', '4');
  assert.match(other.err, /has 2 partitions, for good, and --partitions says 4/);
  const same = await again.start('n1', ['--partitions', '2', '--replicas', '3', '--cluster-init']);
  await again.settled((ring) => ring.partition_count === 2, [same]);
  await again.stop();
});

test('a copy of a member\'s directory is no member', async () => {
  const copy = { name: 'n1', data: join(dir, 'copy'), place: await cluster.place() };
  cpSync(first.data, copy.data, { recursive: true });
  const moved = await cluster.refused(copy);
  assert.equal(moved.code, 1, moved.err);
  assert.match(moved.err, /is a copy of a member's data directory.*remove the file named place/);
  rmSync(join(copy.data, 'place'));
  const twin = await cluster.refused(copy);
  assert.equal(twin.code, 1, twin.err);
  assert.match(twin.err, new RegExp(`a member with the identity of .* runs at ${first.place.peer}`));
  assert.equal((await first.ask('GET', '/readyz')).status, 200);
});

test('backup and restore are for an instance alone', async () => {
  const alone = await Server.start({ data: join(dir, 'alone-2') });
  await alone.stop();
  const file = join(dir, 'backup');
  assert.equal((await cluster.command('backup', file, '--data', alone.data)).code, 0);
  for (const words of [['backup', join(dir, 'none')], ['restore', file]]) {
    const refusal = await cluster.command(...words, '--data', first.data);
    assert.equal(refusal.code, 1);
    assert.match(refusal.err, /is a cluster member's.*for an instance alone/);
  }
});
