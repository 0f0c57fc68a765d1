// A member is taken out, alive or dead, and nothing that was acknowledged goes with it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster } from './members.mjs';

const cluster = new Cluster({ partitions: 4 });
let [a, b, c, d] = [];

before(async () => {
  [a, b, c] = await cluster.three();
  d = await cluster.join('n4');
  await cluster.placed();
  for (let i = 0; i < 40; i++) assert.equal((await a.ask('PUT', `/v1/sessions/s-${i}`, { data: { i } })).status, 201);
});

after(() => cluster.stop());

// Every member's table has these, all active, and each partition three replicas.
async function expectMembers(...names) {
  const are = (ring) => ring.members.every((m) => names.includes(m.name) && m.state === 'active');
  await cluster.settled((ring) => ring.members.length === names.length && are(ring));
  await cluster.placed();
}

async function expectAll(member) {
  for (let i = 0; i < 40; i++) {
    const { status, body } = await member.ask('GET', `/v1/sessions/s-${i}`);
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(body.data, { i });
  }
}

test('who does not know the secret takes nobody out', async () => {
  const none = await cluster.command('leave', 'n4', '--url', a.base);
  assert.equal(none.code, 1);
  assert.match(none.err, /needs --cluster-secret-file/);
  const wrong = await cluster.command('leave', 'n4', '--url', a.base, '--cluster-secret-file', '/etc/services');
  assert.equal(wrong.code, 1);
});

test('a member that leaves gives all that it has to the others, and ends', async () => {
  const left = await cluster.admin(b, 'leave', 'n4');
  assert.equal(left.code, 0, left.err);
  assert.match(left.out, /n4 leaves: \d+%, \d+ of \d+ replicas still there/);
  assert.match(left.out, /n4 has left\.\n$/);
  assert.deepEqual(await d.exited, { code: 0, signal: null }, d.log);
  cluster.forget(d);
  await expectMembers('n1', 'n2', 'n3');
  await expectAll(c);
});

test('it does not come back by itself with what it had', async () => {
  const again = await cluster.refused(d);
  assert.equal(again.code, 1);
  assert.match(again.err, /taken out of its cluster.*empty directory/);
});

test('nobody leaves when too few would be left, and nothing is changed then', async () => {
  const refused = await cluster.admin(a, 'leave', 'n3');
  assert.equal(refused.code, 1);
  assert.match(refused.err, /2 active members would be left.*join another member first.*--force/);
  const unknown = await cluster.admin(a, 'leave', 'nobody');
  assert.equal(unknown.code, 1);
  assert.match(unknown.err, /no member nobody; it has n\d, n\d, n\d\n/);
  await expectMembers('n1', 'n2', 'n3');
});

test('a dead member is replaced at once, and told so when it comes back', async () => {
  c.kill('SIGKILL');
  await c.exited;
  cluster.forget(c);
  const e = await cluster.join('n5');
  const replaced = await cluster.admin(a, 'replace', 'n3', 'n5');
  assert.equal(replaced.code, 0, replaced.err);
  assert.match(replaced.out, /n3 has left\.\n$/);
  await expectMembers('n1', 'n2', 'n5');
  await expectAll(e);
  const again = await cluster.refused(c);
  assert.equal(again.code, 1);
  assert.match(again.err, /taken out of its cluster/);
});

test('with --force the last but one leaves too', async () => {
  for (const name of ['n5', 'n2']) {
    const left = await cluster.admin(a, 'leave', name, '--force');
    assert.equal(left.code, 0, left.err);
    const gone = cluster.members.find((m) => m.name === name);
    assert.deepEqual(await gone.exited, { code: 0, signal: null }, gone.log);
    cluster.forget(gone);
  }
  await expectAll(a);
  const last = await cluster.admin(a, 'leave', '--force');
  assert.equal(last.code, 1);
  assert.match(last.err, /last member cannot leave/);
});
