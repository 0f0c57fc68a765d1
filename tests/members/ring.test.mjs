// How the ring is doing, whoever is asked: members, leaders, lag, and what moves.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster, settled } from './members.mjs';

const cluster = new Cluster({ partitions: 4 });
let [a, b, c] = [];

before(async () => {
  [a, b, c] = await cluster.three();
  await cluster.placed();
});

after(() => cluster.stop());

test('every member tells the same of all of them', async () => {
  for (const member of cluster.members) {
    const body = await cluster.status(member, settled);
    assert.deepEqual(body.members.map((m) => m.name).sort(), ['n1', 'n2', 'n3']);
    assert.equal(body.table.replicas.length, 3);
    assert.ok(body.table.replicas.every((r) => r.role === 'voter'));
    for (const p of body.partitions) assert.deepEqual(p.replicas.map((r) => r.member).sort(), ['n1', 'n2', 'n3']);
  }
});

test('the command prints it as a table, and as JSON', async () => {
  await cluster.status(a, settled);
  const table = await cluster.command('ring', '--url', b.base);
  assert.equal(table.code, 0, table.err);
  assert.match(table.out, /^n2 +[0-9a-f]{16} +http:\S+ +1 +active +\d\.\d s +\d +4$/m);
  assert.match(table.out, /^3 +n\d +n\d, n\d, n\d$/m);
  assert.doesNotMatch(table.out, /MOVING/);
  const json = await cluster.command('ring', '--json', '--url', c.base);
  assert.equal(JSON.parse(json.out).members.length, 3);
  const nobody = await cluster.command('ring', '--url', 'http://127.0.0.1:1');
  assert.equal(nobody.code, 1);
  assert.match(nobody.err, /does not answer .*name another member with --url/);
});

test('a member that is lost is seen to be, with its lag', async () => {
  c.kill('SIGKILL');
  await c.exited;
  const down = (body) => body.members.some((m) => m.name === 'n3' && m.state === 'down' && m.unseen_ms >= 3000);
  await cluster.status(a, down);
  for (let i = 0; i < 40; i++) assert.ok((await a.ask('PUT', `/v1/sessions/s-${i}`, { data: { i } })).status < 300);
  const lags = (body) => body.partitions.some((p) => p.replicas.some((r) => r.member === 'n3' && r.behind > 0));
  await cluster.status(b, lags);
  c = await cluster.again(c);
  await cluster.status(b, settled);
});

test('without a majority what is left says what it knows', async () => {
  for (const member of [b, c]) {
    member.kill('SIGKILL');
    await member.exited;
  }
  const body = await cluster.status(a, (one) => one.table.leader === undefined);
  assert.equal(body.members.length, 3);
  assert.ok(body.members.every((m) => m.unseen_ms === undefined));
  const table = await cluster.command('ring', '--url', a.base);
  assert.match(table.out, /nobody leads the group that keeps its table now/);
});
