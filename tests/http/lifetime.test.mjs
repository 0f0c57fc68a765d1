// The process: how many it lets in, how it ends, and that nobody shares its directory.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { Server } from './server.mjs';
import { Wire, expectProblem, once } from './wire.mjs';

const LIVEZ = 'GET /livez HTTP/1.1\r\nHost: h\r\n\r\n';
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function post(path, body) {
  const text = JSON.stringify(body);
  return `POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
}

function put(path, body) {
  return post(path, body).replace('POST', 'PUT');
}

async function withServer(args, body) {
  const server = await Server.start({ args });
  try {
    await body(server);
  } finally {
    const { code } = await server.stop();
    assert.equal(code, 0, server.log);
  }
}

test('one connection too many is told so, and let in when another has gone', async () => {
  await withServer(['--max-connections', '3'], async (server) => {
    const open = [];
    for (let i = 0; i < 3; i++) {
      const wire = await Wire.open(server.port);
      wire.send(LIVEZ);
      assert.equal((await wire.answer()).status, 200);
      open.push(wire);
    }
    for (let i = 0; i < 5; i++) {
      const wire = await Wire.open(server.port);
      expectProblem(await wire.answer(), 503, 'too-many-connections');
      assert.ok(await wire.closes());
      wire.end();
    }
    open.pop().end();
    for (let i = 0; ; i++) {
      const answer = await once(server.port, LIVEZ);
      if (answer?.status === 200) break;
      assert.ok(i < 100, 'nobody is let in again');
      await pause(10);
    }
    open.forEach((wire) => wire.end());
  });
});

test('a client that speaks first sees why it is turned away', async () => {
  await withServer(['--max-connections', '1'], async (server) => {
    const wire = await Wire.open(server.port);
    wire.send(LIVEZ);
    await wire.answer();
    let seen = 0;
    for (let i = 0; i < 20; i++) {
      const answer = await once(server.port, LIVEZ).catch(() => null);
      if (answer) {
        expectProblem(answer, 503, 'too-many-connections');
        seen += 1;
      }
    }
    assert.ok(seen >= 15, `only ${seen} of 20 saw the answer`);
    wire.end();
  });
});

test('connections that are reset before they are looked at leave no descriptor behind', async () => {
  await withServer([], async (server) => {
    const descriptors = () => readdirSync(`/proc/${server.child.pid}/fd`).length;
    const wire = await Wire.open(server.port);
    wire.send(LIVEZ);
    await wire.answer();
    const before = descriptors();
    // While it is stopped they come and go: accepting is all that is left to do with them.
    server.kill('SIGSTOP');
    for (let i = 0; i < 50; i++) {
      const gone = await Wire.open(server.port);
      gone.socket.resetAndDestroy();
    }
    await pause(50);
    server.kill('SIGCONT');
    for (let i = 0; (await server.ask('GET', '/v1/status')).body.connections > 2 || descriptors() > before + 1; i++) {
      assert.ok(i < 500, `${descriptors()} descriptors instead of ${before}`);
      await pause(10);
    }
    wire.end();
  });
});

// What a client sent, and that it left, may be there at once when the server comes to look.
test('clients that have left before their bytes are read leave no connection behind', async () => {
  await withServer([], async (server) => {
    const whole = put('/v1/sessions/left', {});
    const ends = [1, 20, whole.length - 1, whole.length];
    server.kill('SIGSTOP');
    for (const end of [...ends, ...ends, ...ends, ...ends]) {
      const gone = await Wire.open(server.port);
      gone.send(whole.slice(0, end));
      gone.socket.end();
    }
    await pause(50);
    server.kill('SIGCONT');
    for (let i = 0; ; i++) {
      const { body } = await server.ask('GET', '/v1/status');
      if (body.connections <= 3) break; // the asking client's own
      // Those that are being committed stay until they are, which is the disk's to say; the idle timeout is 120 s.
      assert.ok(i < 3000, `${body.connections} connections stay open`);
      await pause(10);
    }
    assert.equal((await server.ask('GET', '/v1/sessions/left')).status, 200, 'the whole request is carried out');
  });
});

// While a request is committed, what is pipelined behind it stays unread, and the close behind that too.
test('clients that leave behind an unfinished second request leave no connection behind', async () => {
  await withServer([], async (server) => {
    const second = `GET /v1/status HTTP/1.1\r\nHost: h\r\nX: ${'x'.repeat(7500)}`;
    server.kill('SIGSTOP');
    for (let i = 0; i < 12; i++) {
      const gone = await Wire.open(server.port);
      gone.send(put(`/v1/sessions/first-${i}`, {}) + second);
      gone.socket.end();
    }
    await pause(50);
    server.kill('SIGCONT');
    for (let i = 0; ; i++) {
      const { body } = await server.ask('GET', '/v1/status');
      if (body.connections <= 3) break; // the asking client's own
      assert.ok(i < 100, `${body.connections} connections stay open`);
      await pause(10);
    }
    assert.equal((await server.ask('GET', '/v1/sessions/first-11')).status, 200);
  });
});

test('one waiting request too many is refused, and leaves nothing behind', async () => {
  await withServer(['--max-parked', '2'], async (server) => {
    await server.ask('PUT', '/v1/locks/l/leases/a', { owner: 'a' });
    const waiting = [];
    for (const lease of ['b', 'c']) {
      const wire = await Wire.open(server.port);
      wire.send(put(`/v1/locks/l/leases/${lease}`, { owner: lease, wait_ms: 20000 }));
      waiting.push(wire);
    }
    for (let i = 0; (await server.ask('GET', '/v1/status')).body.parked_requests < 2; i++) {
      assert.ok(i < 500);
      await pause(5);
    }
    expectProblem(await once(server.port, put('/v1/locks/l/leases/d', { owner: 'd', wait_ms: 20000 })), 503, 'too-many-parked');
    const { body } = await server.ask('GET', '/v1/locks/l');
    assert.deepEqual(body.waiters.map(({ lease }) => lease).sort(), ['b', 'c']);
    assert.equal((await server.ask('GET', '/v1/locks/l?wait_ms=0')).status, 200, 'who does not wait is served');
    waiting.forEach((wire) => wire.end());
  });
});

test('SIGTERM answers whoever waits, and ends with 0', async () => {
  const server = await Server.start();
  await server.ask('PUT', '/v1/queues/q', {});
  await server.ask('PUT', '/v1/sessions/s', {});
  await server.ask('PUT', '/v1/locks/l/leases/a', { owner: 'a' });
  const wires = {};
  for (const [key, bytes] of Object.entries({
    receive: post('/v1/queues/q/receive', { wait_ms: 30000 }),
    watch: 'GET /v1/sessions/s?wait_ms=30000 HTTP/1.1\r\nHost: h\r\nIf-None-Match: "1"\r\n\r\n',
    acquire: put('/v1/locks/l/leases/b', { owner: 'b', wait_ms: 30000 }),
  })) {
    wires[key] = (await Wire.open(server.port)).send(bytes);
  }
  const idle = await Wire.open(server.port);
  for (let i = 0; (await server.ask('GET', '/v1/status')).body.parked_requests < 3; i++) {
    assert.ok(i < 500);
    await pause(5);
  }
  const begun = Date.now();
  server.kill('SIGTERM');
  assert.deepEqual((await wires.receive.answer()).json, { messages: [] });
  assert.equal((await wires.watch.answer()).status, 304);
  expectProblem(await wires.acquire.answer(), 503, 'draining');
  assert.deepEqual(await server.exited, { code: 0, signal: null }, server.log);
  assert.ok(Date.now() - begun < 5000, 'it took its time');
  for (const wire of [...Object.values(wires), idle]) {
    assert.ok(await wire.closes());
    wire.end();
  }
  await server.stop();
});

test('while it drains /readyz fails and everything else goes on', async () => {
  const server = await Server.start({ args: ['--drain-ms', '1500'] });
  const wire = await Wire.open(server.port);
  wire.send(LIVEZ);
  await wire.answer();
  const readyz = () => once(server.port, 'GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n');
  // It listens before it is ready, and takes the signal only then.
  for (let i = 0; (await readyz()).status !== 200; i++) {
    assert.ok(i < 500);
    await pause(5);
  }
  server.kill('SIGTERM');
  let answer;
  for (let i = 0; i < 100; i++) {
    answer = await readyz();
    if (answer.status !== 200) break;
    await pause(5);
  }
  expectProblem(answer, 503, 'draining');
  const why = await once(server.port, 'GET /readyz?verbose HTTP/1.1\r\nHost: h\r\n\r\n');
  expectProblem(why, 503, 'draining');
  assert.deepEqual(why.json.checks, { started: 'ok', storage: 'ok', accepting: 'failed' });
  assert.equal((await once(server.port, put('/v1/sessions/late', {}))).status, 201);
  wire.send(LIVEZ);
  const last = await wire.answer();
  assert.equal(last.status, 200);
  assert.equal(last.headers.get('connection'), 'close', 'the client is told to come back elsewhere');
  assert.deepEqual(await server.exited, { code: 0, signal: null });
  await server.stop();
});

test('a waiter in line keeps its place across a restart', async () => {
  const first = await Server.start();
  const { data } = first;
  await first.ask('PUT', '/v1/locks/l/leases/a', { owner: 'a', ttl_ms: 600000 });
  const { status } = await first.ask('PUT', '/v1/locks/l/leases/b', { owner: 'b', wait_ms: 60000 }, { Prefer: 'respond-async' });
  assert.equal(status, 202);
  first.kill('SIGKILL');
  await first.exited;
  const second = await Server.start({ data });
  const { body } = await second.ask('GET', '/v1/locks/l');
  assert.deepEqual([body.holders[0].lease, body.waiters[0].lease], ['a', 'b']);
  await second.ask('DELETE', '/v1/locks/l/leases/a');
  const granted = await second.ask('GET', '/v1/locks/l/leases/b');
  assert.equal(granted.body.state, 'held');
  assert.ok(granted.body.fence > body.holders[0].fence);
  await second.stop();
  await first.stop();
});

test('a second process on the directory ends with a word, and the first goes on', async () => {
  const server = await Server.start();
  await assert.rejects(Server.start({ data: server.data }), /in use by another Ringhold process/);
  assert.equal((await server.ask('GET', '/livez')).status, 200);
  await server.stop();
});
