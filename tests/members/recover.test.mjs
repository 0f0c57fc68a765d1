// A majority is lost for good: one member goes on with what it has, and nobody of the old cluster takes part in it.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, pause, settled } from './members.mjs';

const cluster = new Cluster({ partitions: 4 });
let [a, b, c, d] = [];
let lost; // the partition that n1 has nothing of
const where = new Map();
let fences;

async function fenceOf(member, name) {
  const { status, body } = await member.ask('POST', `/v1/locks/${name}/leases`, { owner: 'o' });
  assert.equal(status, 201, JSON.stringify(body));
  await member.ask('DELETE', `/v1/locks/${name}/leases/${body.lease}`);
  return body.fence;
}

const LOCKS = [...Array(12).keys()].map((i) => `fenced-${i}`);

before(async () => {
  [a, b, c] = await cluster.three();
  d = await cluster.join('n4');
  const ring = await cluster.placed();
  lost = ring.partitions.filter((p) => !p.replicas.includes('n1')).map((p) => p.id);
  for (let i = 0; i < 40; i++) {
    const put = await b.ask('PUT', `/v1/sessions/s-${i}`, { data: { i } });
    assert.equal(put.status, 201);
    where.set(i, Number(put.headers.get('ringhold-partition')));
  }
  fences = await Promise.all(LOCKS.map((name) => fenceOf(c, name)));
  await cluster.status(a, settled); // n1 has all there is
});

after(() => cluster.stop());

const recover = (...more) => cluster.command('recover', '--data', a.data, ...more);

test('a directory in use, or one that is no member\'s, is not recovered', async () => {
  const used = await recover('--force');
  assert.equal(used.code, 1);
  assert.match(used.err, /in use by another Ringhold process/);
  const none = await cluster.command('recover', '--force', '--data', join(cluster.dir, 'none'));
  assert.equal(none.code, 1);
  assert.match(none.err, /no cluster member's data directory/);
});

test('a member that finds no majority when it starts is not ready, whatever it was before', async () => {
  for (const member of cluster.members) {
    member.kill('SIGKILL');
    await member.exited;
  }
  const alone = await cluster.again(a);
  for (let i = 0; i < 10; i++) {
    assert.equal((await alone.ask('GET', '/readyz')).status, 503);
    await pause(150);
  }
  alone.kill('SIGKILL');
  await alone.exited;
});

test('without --force it says what would be lost, and changes nothing', async () => {
  const told = await recover();
  assert.equal(told.code, 1);
  assert.match(told.err, /nothing was changed.*pass --force/);
  assert.match(told.out, /of member n1, of 4 in its cluster: .*n4 \(127\.0\.0\.1:\d+\)/);
  for (let p = 0; p < 4; p++) {
    const sentence = lost.includes(p) ? 'nothing of it is here' : 'entry \\d+, and what its log has behind it';
    assert.match(told.out, new RegExp(`^Partition ${p}: ${sentence}`, 'm'));
  }
});

test('with --force the member goes on alone with all that it has, and fences go on', async () => {
  const done = await recover('--force');
  assert.equal(done.code, 0, done.err + done.out);
  assert.match(done.out, /Partition \d: entry \d+ is the last, of 20\d\d-\S+Z\. What was acknowledged after that is lost/);
  assert.match(done.out, /the only member of a new cluster now/);
  cluster.members = [a];
  a = await cluster.again(a);
  await cluster.settled((ring) => ring.members.length === 1 && ring.members[0].state === 'active');
  for (let i = 0; i < 40; i++) {
    const { status, body } = await a.ask('GET', `/v1/sessions/s-${i}`);
    assert.equal(status, lost.includes(where.get(i)) ? 404 : 200, `s-${i} of partition ${where.get(i)}`);
    if (status === 200) assert.deepEqual(body.data, { i });
  }
  const later = await Promise.all(LOCKS.map((name) => fenceOf(a, name)));
  later.forEach((fence, i) => assert.ok(fence > fences[i], `fence ${fence} after ${fences[i]}`));
});

test('who comes back with what it had does not mix with the new cluster', async () => {
  const again = await cluster.refused(b, '--join', `127.0.0.1:${a.port}`);
  assert.equal(again.code, 1);
  assert.match(again.err, /of another cluster's member/);
  const old = [await cluster.again(b), await cluster.again(c), await cluster.again(d)];
  await cluster.settled((ring) => ring.members.length === 4, old);
  const { body } = await a.ask('GET', '/v1/ring');
  assert.deepEqual(body.members.map((m) => m.name), ['n1']);
  assert.equal((await a.ask('PUT', '/v1/sessions/anew', { data: {} })).status, 201);
  await Promise.all(old.map((member) => member.stop()));
});

test('others join it with empty directories, and get their share', async () => {
  rmSync(b.data, { recursive: true });
  rmSync(c.data, { recursive: true });
  cluster.members = [a];
  await cluster.join('n2');
  await cluster.join('n3');
  await cluster.placed();
  assert.equal((await cluster.members[1].ask('GET', '/v1/sessions/anew')).status, 200);
});
