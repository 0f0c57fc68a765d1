// A disk that is full: exactly the writes that were not stored are refused, reads go on, and when there is room again so
// do writes, without a restart. On a small tmpfs where one may be mounted, else under a limit of the file size.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Server, makeDirectory } from './server.mjs';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function mountSmall() {
  const directory = makeDirectory();
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', directory]);
  if (status === 0) return directory;
  rmSync(directory, { recursive: true });
  return null;
}

function refusedForStorage(answer) {
  assert.equal(answer.status, 503, JSON.stringify(answer.body));
  assert.equal(answer.body.code, 'storage-unavailable');
  assert.equal(answer.body.retryable, true);
  assert.ok(answer.headers.get('retry-after'));
}

// Writes until one is refused. What was acknowledged on the way is in `kept`.
async function writeUntilRefused(server, kept, bytes) {
  const filler = 'x'.repeat(bytes);
  for (let tries = 0; tries < 5000; tries++) {
    const n = kept.size;
    const id = `s${n}`;
    const answer = await server.ask('PUT', `/v1/sessions/${id}`, { data: { n, filler } });
    if (answer.status === 201) {
      kept.set(id, n);
      continue;
    }
    refusedForStorage(answer);
    assert.equal((await server.ask('GET', `/v1/sessions/${id}`)).status, 404, 'what was refused is not there');
    return;
  }
  assert.fail('the disk is never full');
}

// Until not even the service's own small commits, by which it finds out whether there is room again, can be stored.
async function fillToTheBrim(server, kept) {
  await writeUntilRefused(server, kept, 20000);
  for (let tries = 0; tries < 200; tries++) {
    await writeUntilRefused(server, kept, 1);
    await pause(600);
    if (!(await ready(server))) return;
  }
  assert.fail('there is always room for a little more');
}

async function expectKept(server, kept) {
  for (const [id, n] of kept) {
    const { status, body } = await server.ask('GET', `/v1/sessions/${id}`);
    assert.deepEqual([status, body.data?.n], [200, n], id);
  }
}

async function until(what, holds) {
  for (let i = 0; i < 600; i++) {
    if (await holds()) return;
    await pause(10);
  }
  assert.fail(`in vain: ${what}`);
}

async function ready(server) {
  return (await server.ask('GET', '/readyz')).status === 200;
}

test('a full disk refuses writes, and takes them again when there is room', async (t) => {
  const disk = mountSmall();
  if (disk === null) {
    t.skip('mounting a tmpfs needs root; the same storage errors are injected by the unit tests (faults)');
    return;
  }
  const ballast = join(disk, 'ballast');
  let server;
  try {
    const data = join(disk, 'data');
    mkdirSync(data);
    server = await Server.start({ data });
    await until('ready', () => ready(server));
    const { bavail, bsize } = statfsSync(disk);
    writeFileSync(ballast, Buffer.alloc(bavail * bsize - 700 * 1024));
    const kept = new Map();
    for (let round = 0; round < 2; round++) {
      await fillToTheBrim(server, kept);
      await expectKept(server, kept);
      assert.equal((await server.ask('GET', '/v1/locks/any')).status, 200, 'reads go on');
      assert.equal((await server.ask('GET', '/livez')).status, 200);
      const probe = await server.ask('GET', '/readyz');
      assert.deepEqual([probe.status, probe.body.code], [503, 'storage-unavailable']);
      assert.equal((await server.ask('GET', '/v1/status')).body.ready, false);
      assert.match((await server.ask('GET', '/metrics')).body, /^ringhold_storage_ok 0$/m);
      for (const [method, path, body] of [
        ['PUT', `/v1/locks/l${round}/leases/a`, { owner: 'o' }],
        ['POST', '/v1/queues/q/messages', { messages: [{ body: 1 }] }],
        ['POST', '/v1/sessions', { subject: 'anna' }],
      ]) {
        refusedForStorage(await server.ask(method, path, body));
      }
      unlinkSync(ballast);
      await until('ready again without a restart', () => ready(server));
      const answer = await server.ask('PUT', `/v1/sessions/after${round}`, { data: { n: -1 } });
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
      kept.set(`after${round}`, -1);
      await expectKept(server, kept);
      const left = statfsSync(disk);
      writeFileSync(ballast, Buffer.alloc(Math.max(0, left.bavail * left.bsize - 300 * 1024)));
    }
    assert.match(server.log, /"event":"storage-unavailable"/);
    assert.match(server.log, /"event":"storage-recovered"/);
    await fillToTheBrim(server, kept);
    server.kill('SIGKILL');
    await server.exited;
    // On a full disk it may not be able to start; then it says so, and harms nothing.
    server = await Server.start({ data }).catch((error) => {
      assert.match(error.message, /ringhold: cannot start: /);
      return null;
    });
    if (server) {
      await expectKept(server, kept);
      server.kill('SIGKILL');
      await server.exited;
    }
    unlinkSync(ballast);
    server = await Server.start({ data });
    await expectKept(server, kept);
    assert.equal((await server.stop()).code, 0);
  } finally {
    server?.kill('SIGKILL');
    await server?.exited;
    spawnSync('umount', ['-l', disk]);
    rmSync(disk, { recursive: true, force: true });
  }
});

test('a limit of the file size refuses writes and nothing else', async (t) => {
  if (spawnSync('prlimit', ['--version']).status !== 0) {
    t.skip('there is no prlimit');
    return;
  }
  const server = await Server.start({ under: ['prlimit', '--fsize=1500000', '--'] });
  const kept = new Map();
  await fillToTheBrim(server, kept);
  await expectKept(server, kept);
  const lifted = spawnSync('prlimit', ['--pid', String(server.child.pid), '--fsize=unlimited:unlimited']);
  if (lifted.status === 0) {
    await until('ready again without a restart', () => ready(server));
    assert.equal((await server.ask('PUT', '/v1/sessions/after', {})).status, 201);
    kept.set('after', undefined);
  }
  await expectKept(server, kept);
  assert.equal((await server.stop()).code, 0, server.log);
});
