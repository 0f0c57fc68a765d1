// Requests that wait: what wakes them, what a client that hangs up leaves behind, and that waiting costs nothing.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { Server } from './server.mjs';
import { Wire, expectProblem } from './wire.mjs';

const LONG_MS = 20000; // no test waits that long: it would fail first
const SOON_MS = 3000; // a wake-up takes a few milliseconds; the machine may be busy

let server;
let number = 0;
let name; // a fresh one for each test
before(async () => {
  server = await Server.start();
});
after(async () => {
  const { code } = await server.stop();
  assert.equal(code, 0, server.log);
});
const opened = []; // connections of the test that runs
beforeEach(() => {
  name = `waiting${++number}`;
});
afterEach(async () => {
  opened.splice(0).forEach((wire) => wire.end());
  await parked(0);
});

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Until the server has so many parked requests, or the wire has an answer already: on a busy machine a short time may
// have run out before anything parked.
async function parked(count, wire) {
  for (let i = 0; i < 500; i++) {
    const { body } = await server.ask('GET', '/v1/status');
    if (body.parked_requests === count || wire?.bytes.length > 0) return;
    await pause(5);
  }
  assert.fail(`there are never ${count} parked requests`);
}

// Sends a request that parks; resolves, once it is parked (or answered), to { answer: a promise, wire }.
async function park(method, path, body, fields = []) {
  const { body: status } = await server.ask('GET', '/v1/status');
  const text = body === undefined ? '' : JSON.stringify(body);
  const wire = await Wire.open(server.port);
  const head = [`${method} ${path} HTTP/1.1`, 'Host: h', ...fields, `Content-Length: ${text.length}`];
  wire.send(`${head.join('\r\n')}\r\n\r\n${text}`);
  opened.push(wire);
  await parked(status.parked_requests + 1, wire);
  const answer = wire.answer({ patience: SOON_MS });
  answer.catch(() => {}); // who awaits it is told; a test that has failed before does not
  return { wire, answer };
}

// Until these leases stand in the lock's line. A hang-up is noticed first, and stored then.
async function line(leases) {
  let waiting;
  for (let i = 0; i < 500; i++) {
    const { body } = await server.ask('GET', `/v1/locks/${name}`);
    waiting = body.waiters.map(({ lease }) => lease);
    if (waiting.join() === leases.join()) return;
    await pause(5);
  }
  assert.deepEqual(waiting, leases);
}

async function made(...request) {
  const answer = await server.ask(...request);
  assert.ok([200, 201].includes(answer.status), JSON.stringify(answer.body));
  return answer.body;
}

// ---- watching -------------------------------------------------------------------------------------------------------

test('a watched session wakes when it changes', async () => {
  await made('PUT', `/v1/sessions/${name}`, {});
  const { answer } = await park('GET', `/v1/sessions/${name}?wait_ms=${LONG_MS}`, undefined, ['If-None-Match: "1"']);
  await made('PATCH', `/v1/sessions/${name}`, { data: { n: 1 } });
  const { status, json, headers } = await answer;
  assert.deepEqual([status, json.version, headers.get('etag')], [200, 2, '"2"']);
});

test('a watched session that stays as it is answers 304 when the time is over', async () => {
  await made('PUT', `/v1/sessions/${name}`, {});
  const begun = Date.now();
  const { status, headers } = await server.ask('GET', `/v1/sessions/${name}?wait_ms=200`, undefined, { 'If-None-Match': '"1"' });
  assert.equal(status, 304);
  assert.equal(headers.get('etag'), '"1"');
  assert.ok(Date.now() - begun >= 195, 'it answered too early');
});

test('Prefer: wait waits too, and is confirmed', async () => {
  await made('PUT', `/v1/sessions/${name}`, {});
  const begun = Date.now();
  const { status, headers } = await server.ask('GET', `/v1/sessions/${name}`, undefined, { 'If-None-Match': '"1"', Prefer: 'wait=1' });
  assert.equal(status, 304);
  assert.equal(headers.get('preference-applied'), 'wait=1');
  assert.ok(Date.now() - begun >= 995);
});

test('a watch with another version answers at once', async () => {
  await made('PUT', `/v1/sessions/${name}`, {});
  const begun = Date.now();
  const { status } = await server.ask('GET', `/v1/sessions/${name}?wait_ms=${LONG_MS}`, undefined, { 'If-None-Match': '"7"' });
  assert.equal(status, 200);
  assert.ok(Date.now() - begun < SOON_MS);
});

test('a watched session wakes when it expires', async () => {
  await made('PUT', `/v1/sessions/${name}`, { idle_ttl_ms: 1000 });
  const { answer } = await park('GET', `/v1/sessions/${name}?wait_ms=${LONG_MS}`, undefined, ['If-None-Match: "1"']);
  const ended = await answer;
  expectProblem(ended, 410, 'session-ended');
  assert.equal(ended.json.reason, 'idle');
});

test('a watched lock wakes when its holder is gone', async () => {
  await made('PUT', `/v1/locks/${name}/leases/a`, { owner: 'a', ttl_ms: 400 });
  const { body } = await server.ask('GET', `/v1/locks/${name}`);
  const { answer } = await park('GET', `/v1/locks/${name}?wait_ms=${LONG_MS}`, undefined, [`If-None-Match: "${body.version}"`]);
  const { status, json } = await answer;
  assert.equal(status, 200);
  assert.deepEqual(json.holders, []);
  assert.equal(json.fence, body.fence, 'the fence stays');
});

test('a watched queue wakes when a message comes', async () => {
  const { version } = await made('PUT', `/v1/queues/${name}`, {});
  const { answer } = await park('GET', `/v1/queues/${name}?wait_ms=${LONG_MS}`, undefined, [`If-None-Match: "${version}"`]);
  await made('POST', `/v1/queues/${name}/messages`, { messages: [{ body: 1 }] });
  const { status, json } = await answer;
  assert.deepEqual([status, json.ready], [200, 1]);
});

test('a hundred watchers of one lock wake together', async () => {
  const { body } = await server.ask('GET', `/v1/locks/${name}`);
  const watchers = await Promise.all(Array.from({ length: 100 }, () => Wire.open(server.port)));
  for (const wire of watchers) {
    wire.send(`GET /v1/locks/${name}?wait_ms=${LONG_MS} HTTP/1.1\r\nHost: h\r\nIf-None-Match: "${body.version}"\r\n\r\n`);
  }
  await parked(100);
  await made('PUT', `/v1/locks/${name}/leases/a`, { owner: 'a' });
  for (const wire of watchers) {
    const { status, json } = await wire.answer({ patience: SOON_MS });
    assert.deepEqual([status, json.holders.length], [200, 1]);
    wire.end();
  }
  await parked(0);
});

// ---- locks ----------------------------------------------------------------------------------------------------------

test('a waiter is granted the lock when it is released', async () => {
  await made('PUT', `/v1/locks/${name}/leases/a`, { owner: 'a' });
  const { answer } = await park('PUT', `/v1/locks/${name}/leases/b`, { owner: 'b', wait_ms: LONG_MS });
  await server.ask('DELETE', `/v1/locks/${name}/leases/a`);
  const { status, json } = await answer;
  assert.deepEqual([status, json.state, json.owner], [201, 'held', 'b']);
});

test('a waiter is granted the lock when the holder lets its time run out', async () => {
  await made('PUT', `/v1/locks/${name}/leases/a`, { owner: 'a', ttl_ms: 300 });
  const { answer } = await park('PUT', `/v1/locks/${name}/leases/b`, { owner: 'b', wait_ms: LONG_MS });
  assert.equal((await answer).status, 201);
});

test('a waiter whose time is over is refused, and leaves nothing in line', async () => {
  await made('PUT', `/v1/locks/${name}/leases/a`, { owner: 'a' });
  const refused = await server.ask('PUT', `/v1/locks/${name}/leases/b`, { owner: 'b', wait_ms: 150 });
  assert.deepEqual([refused.status, refused.body.code], [409, 'lock-held']);
  assert.deepEqual((await server.ask('GET', `/v1/locks/${name}`)).body.waiters, []);
});

test('a waiter that hangs up is dropped from the line, and the next one has its place', async () => {
  await made('PUT', `/v1/locks/${name}/leases/a`, { owner: 'a' });
  const first = await park('PUT', `/v1/locks/${name}/leases/b`, { owner: 'b', wait_ms: LONG_MS });
  const second = await park('PUT', `/v1/locks/${name}/leases/c`, { owner: 'c', wait_ms: LONG_MS });
  first.wire.end();
  await line(['c']);
  await server.ask('DELETE', `/v1/locks/${name}/leases/a`);
  assert.equal((await second.answer).status, 201);
});

test('a waiter that hung up and comes back has its place again', async () => {
  await made('PUT', `/v1/locks/${name}/leases/a`, { owner: 'a' });
  const first = await park('PUT', `/v1/locks/${name}/leases/b`, { owner: 'b', wait_ms: LONG_MS });
  const rival = await park('PUT', `/v1/locks/${name}/leases/c`, { owner: 'c', wait_ms: LONG_MS });
  first.wire.end();
  await line(['c']);
  const again = await park('PUT', `/v1/locks/${name}/leases/b`, { owner: 'b', wait_ms: LONG_MS });
  await line(['b', 'c']);
  await server.ask('DELETE', `/v1/locks/${name}/leases/a`);
  assert.equal((await again.answer).json.lease, 'b');
  await server.ask('DELETE', `/v1/locks/${name}/leases/b`);
  assert.equal((await rival.answer).json.lease, 'c');
});

test('a waiter that comes again under its lease id keeps its place', async () => {
  await made('PUT', `/v1/locks/${name}/leases/a`, { owner: 'a' });
  const first = await park('PUT', `/v1/locks/${name}/leases/b`, { owner: 'b', wait_ms: LONG_MS });
  const rival = await park('PUT', `/v1/locks/${name}/leases/c`, { owner: 'c', wait_ms: LONG_MS });
  const again = await park('PUT', `/v1/locks/${name}/leases/b`, { owner: 'b', wait_ms: LONG_MS });
  first.wire.end();
  await parked(2);
  await server.ask('DELETE', `/v1/locks/${name}/leases/a`);
  assert.equal((await again.answer).json.lease, 'b');
  await server.ask('DELETE', `/v1/locks/${name}/leases/b`);
  assert.equal((await rival.answer).json.lease, 'c');
});

// ---- queues ---------------------------------------------------------------------------------------------------------

const receive = () => park('POST', `/v1/queues/${name}/receive`, { wait_ms: LONG_MS });

test('a receive wakes when a message is sent', async () => {
  await made('PUT', `/v1/queues/${name}`, {});
  const { answer } = await receive();
  await made('POST', `/v1/queues/${name}/messages`, { messages: [{ body: 'here' }] });
  assert.equal((await answer).json.messages[0].body, 'here');
});

test('a receive wakes when a delay has run out', async () => {
  await made('POST', `/v1/queues/${name}/messages`, { messages: [{ body: 1, delay_ms: 300 }] });
  const { answer } = await receive();
  assert.equal((await answer).json.messages.length, 1);
});

test('a receive wakes when a lease has run out', async () => {
  await made('PUT', `/v1/queues/${name}`, { lease_ms: 300 });
  await made('POST', `/v1/queues/${name}/messages`, { messages: [{ body: 1 }] });
  await made('POST', `/v1/queues/${name}/receive`, {});
  const { answer } = await receive();
  const [message] = (await answer).json.messages;
  assert.deepEqual([message.attempt, message.failures], [2, 1]);
});

test('a receive wakes when the queue is no longer paused', async () => {
  await made('PUT', `/v1/queues/${name}`, { paused: true });
  await made('POST', `/v1/queues/${name}/messages`, { messages: [{ body: 1 }] });
  const { answer } = await receive();
  await made('PATCH', `/v1/queues/${name}`, { paused: false });
  assert.equal((await answer).json.messages.length, 1);
});

test('a receive whose wait is over answers an empty list', async () => {
  await made('PUT', `/v1/queues/${name}`, {});
  const { status, body } = await server.ask('POST', `/v1/queues/${name}/receive`, { wait_ms: 150 });
  assert.deepEqual([status, body], [200, { messages: [] }]);
});

test('one message wakes one of two receivers', async () => {
  await made('PUT', `/v1/queues/${name}`, {});
  const one = await receive();
  const two = await receive();
  await made('POST', `/v1/queues/${name}/messages`, { messages: [{ body: 1 }] });
  assert.equal((await one.answer).json.messages.length, 1, 'who waited longest has it');
  await parked(1);
  await made('POST', `/v1/queues/${name}/messages`, { messages: [{ body: 2 }] });
  assert.equal((await two.answer).json.messages[0].body, 2);
});

test('a receive whose client has gone takes nothing', async () => {
  await made('PUT', `/v1/queues/${name}`, {});
  const gone = await receive();
  const stays = await receive();
  gone.wire.end();
  await made('POST', `/v1/queues/${name}/messages`, { messages: [{ body: 1 }] });
  const [message] = (await stays.answer).json.messages;
  assert.equal(message.attempt, 1);
});

// ---- the connection -------------------------------------------------------------------------------------------------

test('what is pipelined behind a waiting request is answered after it', async () => {
  await made('PUT', `/v1/queues/${name}`, {});
  const body = JSON.stringify({ wait_ms: 200 });
  const wire = await Wire.open(server.port);
  wire.send(`POST /v1/queues/${name}/receive HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  wire.send('GET /v1/status HTTP/1.1\r\nHost: h\r\n\r\n');
  assert.deepEqual((await wire.answer()).json, { messages: [] });
  assert.ok((await wire.answer()).json.version);
  wire.end();
});

// Processor time the server has used, in milliseconds.
function busyMs() {
  const fields = readFileSync(`/proc/${server.child.pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

test('waiting takes no processor time', async () => {
  await made('PUT', `/v1/queues/${name}`, {});
  for (let i = 0; i < 20; i++) await receive();
  const before = busyMs();
  await pause(1000);
  assert.ok(busyMs() - before <= 50, `${busyMs() - before} ms in a second`);
});

test('a client that sends a byte more and leaves is noticed, and busies nobody', async () => {
  await made('PUT', `/v1/queues/${name}`, {});
  const { wire } = await receive();
  wire.send('P');
  wire.socket.end();
  const before = busyMs();
  await parked(0);
  await pause(500);
  assert.ok(busyMs() - before <= 100, `${busyMs() - before} ms`);
});
