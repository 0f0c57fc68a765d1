// A session whose new subject lives on another partition goes there, whole, and what led to it leads on.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { Cluster, expect, pause } from './members.mjs';

const cluster = new Cluster();
let turn = 0;
// Each request goes to the next member.
const ask = (...request) => cluster.members[turn++ % cluster.members.length].ask(...request);
const create = async (data) => expect(await ask('POST', '/v1/sessions', { data }), 201).body;
const rotate = (id, body, headers) => ask('POST', `/v1/sessions/${id}/rotate`, body, headers);
const resolve = (token) => ask('POST', '/v1/sessions/resolve', { token });
const partitionOf = async (name) => (await ask('GET', `/v1/ring/lookup?name=${name}`)).body.partition;
const SUBJECTS = [...Array(12).keys()];

before(async () => {
  await cluster.three();
  await cluster.placed();
});

after(() => cluster.stopWell());

test('it keeps its data and its clock, is its subject’s, and the old id and token end', async () => {
  let crossed = 0;
  for (const i of SUBJECTS) {
    const old = await create({ cart: i });
    const { body: made } = expect(await rotate(old.id, { subject: `u-${i}` }), 200);
    crossed += (await partitionOf(old.id)) !== (await partitionOf(made.id));
    assert.deepEqual(made.data, { cart: i });
    assert.equal(made.created_at, old.created_at);
    assert.equal(made.max_expires_at, old.max_expires_at);
    assert.equal(made.version, old.version + 1);
    assert.equal(made.subject, `u-${i}`);
    assert.equal(expect(await resolve(made.token), 200).body.id, made.id);
    for (const answer of [await resolve(old.token), await ask('GET', `/v1/sessions/${old.id}`)]) {
      assert.equal(expect(answer, 410).body.reason, 'rotated');
    }
    const { body: list } = expect(await ask('GET', `/v1/subjects/u-${i}/sessions`), 200);
    assert.deepEqual(list.items.map((s) => s.id), [made.id]);
  }
  assert.ok(crossed > 6, `${crossed} of 12 went to another partition: this tests nothing`);
});

test('within the grace the old id and token are as good as the new, for everything', async () => {
  for (const i of SUBJECTS) {
    const old = await create({});
    const { body: made } = expect(await rotate(old.id, { subject: `g-${i}`, grace_ms: 60000 }), 200);
    assert.equal(expect(await resolve(old.token), 200).body.id, made.id);
    expect(await resolve(`${old.id}.${made.token.split('.')[1]}`), 404);
    assert.equal(expect(await ask('GET', `/v1/sessions/${old.id}`), 200).body.id, made.id);
    expect(await ask('PATCH', `/v1/sessions/${old.id}`, { data: { seen: i } }), 200);
    expect(await ask('POST', `/v1/sessions/${old.id}/touch`, {}), 200);
    assert.deepEqual((await ask('GET', `/v1/sessions/${made.id}`)).body.data, { seen: i });
    expect(await ask('DELETE', `/v1/sessions/${old.id}`), 204);
    assert.equal(expect(await resolve(made.token), 410).body.reason, 'revoked');
    expect(await resolve(old.token), 410);
  }
});

test('the grace ends there as it ends here', async () => {
  const old = await create({});
  const { body: made } = expect(await rotate(old.id, { subject: 'brief', grace_ms: 300 }), 200);
  let answer = await resolve(old.token);
  for (const end = Date.now() + 10000; answer.status === 200; answer = await resolve(old.token)) {
    assert.ok(Date.now() < end, 'the old token resolves for ever');
  }
  assert.equal(expect(answer, 410).body.reason, 'rotated');
  expect(await resolve(made.token), 200);
});

test('a rotation that is repeated with its Idempotency-Key is done once, and shows the same token', async () => {
  for (const i of SUBJECTS) {
    const old = await create({});
    const key = { 'Idempotency-Key': `r-${i}` };
    const { body: made } = expect(await rotate(old.id, { subject: `k-${i}` }, key), 200);
    const again = expect(await rotate(old.id, { subject: `k-${i}` }, key), 200);
    assert.equal(again.headers.get('idempotent-replayed'), 'true');
    assert.equal(again.body.token, made.token);
    expect(await rotate(old.id, { subject: `other-${i}` }, key), 422);
    for (const subject of [`k-${i}`, `other-${i}`]) {
      const { body: list } = expect(await ask('GET', `/v1/subjects/${subject}/sessions`), 200);
      assert.deepEqual(list.items.map((s) => s.id), subject === `k-${i}` ? [made.id] : []);
    }
  }
});

test('one that has ended, or never was, is refused and leaves nothing behind', async () => {
  const old = await create({});
  expect(await ask('DELETE', `/v1/sessions/${old.id}`), 204);
  assert.equal(expect(await rotate(old.id, { subject: 'nobody' }), 410).body.reason, 'revoked');
  expect(await rotate('was~never', { subject: 'nobody' }), 404);
  const { body: list } = expect(await ask('GET', '/v1/subjects/nobody/sessions'), 200);
  assert.deepEqual(list.items, []);
});

test('no change that was acknowledged is lost on the way', async () => {
  for (const i of SUBJECTS) {
    const old = await create({});
    const acked = {};
    let moved = false;
    const patches = [...Array(2).keys()].map(async (writer) => {
      for (let n = 0; !moved; n++) {
        const answer = await ask('PATCH', `/v1/sessions/${old.id}`, { data: { [`w${writer}`]: n } });
        if (answer.status === 200) acked[`w${writer}`] = n;
        else assert.equal(answer.status, 410, JSON.stringify(answer.body));
        await pause(10);
      }
    });
    let answer = await rotate(old.id, { subject: `busy-${i}` });
    while (answer.status === 503) answer = await rotate(old.id, { subject: `busy-${i}` });
    moved = true;
    await Promise.all(patches);
    const { body: made } = expect(answer, 200);
    assert.deepEqual((await ask('GET', `/v1/sessions/${made.id}`)).body.data, acked);
    const { body: list } = expect(await ask('GET', `/v1/subjects/busy-${i}/sessions`), 200);
    assert.deepEqual(list.items.map((s) => s.id), [made.id]);
  }
});

// The client hangs up while the session changes under its feet, so that moving it has to begin anew; whatever came of it,
// who asks again with the same key gets a token that there is.
test('what a client that hung up is told the second time is true', async () => {
  const ROUNDS = 24;
  for (let n = 0; n < ROUNDS; n++) {
    const { id } = expect(await ask('POST', '/v1/sessions', { subject: `before-${n}`, data: { n } }), 201).body;
    const { url } = expect(await ask('GET', `/v1/ring/lookup?name=${id}`), 200).body;
    const owner = cluster.members.find((m) => m.base === url);
    const path = `/v1/sessions/${id}/rotate`;
    const body = JSON.stringify({ subject: `after-${n}` });
    let over = false;
    const change = async () => {
      for (let z = 0; !over; z++) {
        const operation = { method: 'PATCH', path: `/v1/sessions/${id}`, body: { data: { z } } };
        const { status } = await owner.ask('POST', '/v1/transactions', { operations: [operation] });
        if (status !== 200 && status !== 503) return;
      }
    };
    const changes = [change(), change(), change()];
    await pause(10);
    const socket = connect(owner.port, '127.0.0.1');
    const fields = `Host: x\r\nContent-Type: application/json\r\nIdempotency-Key: again-${n}\r\nContent-Length: ${body.length}`;
    socket.write(`POST ${path} HTTP/1.1\r\n${fields}\r\n\r\n${body}`);
    await pause(2 + (n % 6));
    socket.resetAndDestroy();
    await pause(10 + 5 * (n % 8));
    over = true;
    await Promise.all(changes);
    let answer;
    do {
      await pause(50);
      answer = await owner.ask('POST', path, JSON.parse(body), { 'Idempotency-Key': `again-${n}` });
    } while (answer.status === 503 || answer.status === 409);
    expect(await resolve(expect(answer, 200).body.token), 200);
  }
});
