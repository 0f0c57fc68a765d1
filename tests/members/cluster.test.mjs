// Three members: any takes any request, one may be lost, and what was acknowledged stays.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { writers } from './load.mjs';
import { Cluster, expect, pause, until } from './members.mjs';

const cluster = new Cluster();
let [a, b, c] = [];

before(async () => {
  [a, b, c] = await cluster.three();
});

after(() => cluster.stopWell());

test('members that join get their share, and all have the same ring', async () => {
  const ring = await cluster.placed();
  assert.deepEqual(ring.members.map((m) => m.name).sort(), ['n1', 'n2', 'n3']);
  for (const member of cluster.members) expect(await member.ask('GET', '/readyz'), 200);
});

test('what is written through one member is read through every other', async () => {
  for (let i = 0; i < 24; i++) {
    const [one, two, three] = [a, b, c].map((_, j) => cluster.members[(i + j) % 3]);
    const path = `/v1/sessions/s-${i}`;
    expect(await one.ask('PUT', path, { data: { i } }), 201);
    const read = expect(await two.ask('GET', path), 200);
    assert.deepEqual(read.body.data, { i });
    const { body: lookup } = await three.ask('GET', `/v1/ring/lookup?name=s-${i}`);
    assert.equal(read.headers.get('ringhold-owner'), lookup.owner);
    assert.equal(read.headers.get('ringhold-partition'), String(lookup.partition));
    expect(await three.ask('PATCH', path, { data: { j: 1 } }, { 'If-Match': '"7"' }), 412);
  }
});

test('a lock is waited for through one member and released through another', async () => {
  for (let i = 0; i < 6; i++) {
    const path = `/v1/locks/l-${i}/leases`;
    const held = expect(await a.ask('PUT', `${path}/x`, { owner: 'x' }), 201);
    expect(await b.ask('PUT', `${path}/y`, { owner: 'y' }), 409);
    const waits = b.ask('PUT', `${path}/y`, { owner: 'y', wait_ms: 20000 });
    await until(async () => (await c.ask('GET', `/v1/locks/l-${i}`)).body.waiters.length === 1);
    expect(await c.ask('DELETE', `${path}/x`), 204);
    const granted = expect(await waits, 201);
    assert.ok(granted.body.fence > held.body.fence);
  }
});

test('a message goes from one member to a receiver at another, and is settled at a third', async () => {
  for (let i = 0; i < 6; i++) {
    expect(await a.ask('PUT', `/v1/queues/q-${i}`, {}), 201);
    const receives = b.ask('POST', `/v1/queues/q-${i}/receive`, { wait_ms: 20000 });
    await pause(20);
    expect(await c.ask('POST', `/v1/queues/q-${i}/messages`, { messages: [{ body: i }] }), 201);
    const { body } = expect(await receives, 200);
    assert.equal(body.messages[0].body, i);
    const settled = await a.ask('POST', `/v1/queues/q-${i}/settle`, { acks: [body.messages[0].receipt] });
    assert.equal(settled.body.results[0].outcome, 'acked');
  }
});

test('a POST is repeated through another member with its Idempotency-Key', async () => {
  for (let i = 0; i < 8; i++) {
    const key = { 'Idempotency-Key': `k-${i}` };
    const first = expect(await a.ask('POST', '/v1/sessions', { data: { i } }, key), 201);
    const again = expect(await b.ask('POST', '/v1/sessions', { data: { i } }, key), 201);
    assert.equal(again.body.id, first.body.id);
    assert.equal(again.headers.get('idempotent-replayed'), 'true');
    expect(await c.ask('POST', '/v1/sessions/resolve', { token: first.body.token }), 200);
  }
});

test('a list is over all partitions, page by page, whoever is asked', async () => {
  const names = [];
  for (const member of cluster.members) {
    let cursor = '';
    do {
      const { body } = expect(await member.ask('GET', `/v1/queues?prefix=q-&limit=2${cursor}`), 200);
      names.push(...body.items.map((q) => q.name));
      cursor = body.next_cursor === undefined ? '' : `&cursor=${body.next_cursor}`;
    } while (cursor !== '');
  }
  const all = ['q-0', 'q-1', 'q-2', 'q-3', 'q-4', 'q-5'];
  assert.deepEqual(names, [...all, ...all, ...all]);
});

test('a client that hangs up while it waits through another member loses its place', async () => {
  const path = '/v1/locks/left/leases';
  expect(await a.ask('PUT', `${path}/x`, { owner: 'x' }), 201);
  const leaving = new AbortController();
  for (const member of cluster.members) {
    const url = `${member.base}${path}/gone-${member.name}`;
    const body = JSON.stringify({ owner: `gone-${member.name}`, wait_ms: 30000 });
    fetch(url, { method: 'PUT', body, signal: leaving.signal }).catch(() => {});
  }
  const waiters = async () => (await a.ask('GET', '/v1/locks/left')).body.waiters.length;
  await until(async () => (await waiters()) === 3);
  leaving.abort();
  await until(async () => (await waiters()) === 0);
});

test('clients that hang up while their writes are with another member change nothing that they must not', async () => {
  const path = '/v1/sessions/hung-up';
  const { version } = expect(await a.ask('PUT', path, { data: {} }), 201).body;
  const { body: lookup } = await a.ask('GET', '/v1/ring/lookup?name=hung-up');
  const owner = cluster.members.find((member) => member.name === lookup.owner);
  const other = cluster.members.find((member) => member !== owner);
  owner.kill('SIGSTOP');
  const leaving = new AbortController();
  for (let i = 0; i < 20; i++) {
    const request = { method: 'PUT', body: '{"data":{"new":true}}', headers: { 'If-Match': '"0"' }, signal: leaving.signal };
    fetch(`${other.base}${path}`, request).catch(() => {});
  }
  await pause(150);
  leaving.abort();
  await pause(50);
  owner.kill('SIGCONT');
  for (const member of cluster.members) {
    assert.equal(expect(await member.ask('GET', path), 200).body.version, version);
  }
});

async function expectAll(acked, member) {
  for (const [key, n] of acked) {
    const { body } = expect(await member.ask('GET', `/v1/sessions/${key}`), 200);
    assert.ok(body.data.n >= n, `${key} is at ${body.data.n}, ${n} was acknowledged`);
  }
}

async function fenceOf(member, i) {
  const path = `/v1/locks/fenced-${i}/leases`;
  const end = Date.now() + 15000;
  for (let answer; Date.now() < end; await pause(20)) {
    answer = await member.ask('POST', path, { owner: 'o' }).catch(() => null);
    if (answer?.status === 201) {
      await member.ask('DELETE', `${path}/${answer.body.lease}`).catch(() => null);
      return answer.body.fence;
    }
    if (answer?.status === 409) await member.ask('DELETE', path).catch(() => null);
  }
  throw new Error('no lease within 15 s');
}

test('a member that is killed takes nothing with it, and catches up when it is back', async () => {
  const fences = await Promise.all([...Array(8).keys()].map((i) => fenceOf(a, i)));
  const load = writers([b, c]);
  await pause(1000);
  a.kill('SIGKILL');
  await a.exited;
  const before = load.acked.size;
  await pause(4000);
  await load.end();
  assert.ok(before > 0);
  await expectAll(load.acked, b);
  const later = await Promise.all([...Array(8).keys()].map((i) => fenceOf(c, i)));
  later.forEach((fence, i) => assert.ok(fence > fences[i], `fence ${fence} after ${fences[i]}`));
  a = await cluster.again(a);
  await cluster.placed();
  c.kill('SIGKILL');
  await c.exited;
  await expectAll(load.acked, a);
  c = await cluster.again(c);
  await cluster.placed();
});

test('a member that is stopped hands over, and nothing that was acknowledged is lost', async () => {
  const load = writers([a, c]);
  await pause(1000);
  const end = await b.stop();
  assert.equal(end.code, 0, b.log);
  await pause(1000);
  await load.end();
  await expectAll(load.acked, a);
  assert.deepEqual([...load.refused], []);
  b = await cluster.again(b);
  await cluster.placed();
});
