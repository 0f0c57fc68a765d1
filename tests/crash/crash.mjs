// crash.mjs [--kills N] [--seed S]: clients write while the process is killed with SIGKILL at random moments; after each
// restart whatever was acknowledged must be there. RINGHOLD names the binary, CHECK_DB the checker.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Server, makeDirectory } from '../http/server.mjs';
import { Consumer, Creator, LockBoard, LockUser, Mover, Producer, QueueBoard, SessionWriter } from './actors.mjs';
import { Client } from './client.mjs';

const CHECK_DB = process.env.CHECK_DB ?? 'build/check-db';
const { values } = parseArgs({ options: { kills: { type: 'string', default: '20' }, seed: { type: 'string' } } });
const kills = Number(values.kills);
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));

// mulberry32: small, and the same everywhere.
function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const random = generator(seed);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function cast(client) {
  const some = (n, make) => Array.from({ length: n }, (_, i) => make(i));
  const own = () => generator(Math.floor(random() * 2 ** 31));
  const locks = some(3, (i) => new LockBoard(`lock${i}`));
  const queues = some(2, (i) => new QueueBoard(`queue${i}`));
  const movers = some(2, (i) => new Mover(`mover${i}`, client, own()));
  const actors = [
    ...some(4, (i) => new SessionWriter(`writer${i}`, client, own())),
    ...some(6, (i) => new LockUser(`user${i}`, client, own(), locks)),
    ...some(3, (i) => new Producer(`producer${i}`, client, own(), queues)),
    ...some(3, (i) => new Consumer(`consumer${i}`, client, own(), queues)),
    ...movers,
    ...some(2, (i) => new Creator(`creator${i}`, client, own())),
  ];
  return { actors, boards: [...locks, ...queues], prepared: [...queues, ...movers] };
}

// Looks at a copy of the files, so that recovering them is left to the service.
function checkFiles(data) {
  const copy = join(data, 'copy');
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy);
  const database = join(data, 'partition-0.db');
  for (const suffix of ['', '-wal']) {
    if (existsSync(database + suffix)) copyFileSync(database + suffix, join(copy, `checked.db${suffix}`));
  }
  const { status, stderr, stdout } = spawnSync(CHECK_DB, [join(copy, 'checked.db')], { encoding: 'utf8' });
  assert.equal(status, 0, `check-db: ${stderr}`);
  rmSync(copy, { recursive: true, force: true });
  return JSON.parse(stdout);
}

// Starts it; now and then it is killed while it still starts, and started again.
async function startServer(data) {
  let killed = 0;
  while (random() < 0.2) {
    const dying = new Server(data);
    dying.begin().catch(() => {}); // it may die before it listens: that is the point
    await pause(random() * 30);
    dying.kill('SIGKILL');
    await dying.exited;
    killed += 1;
  }
  return { server: await Server.start({ data }), killed };
}

async function round(client, server, { actors }) {
  let alive = true;
  const failures = [];
  const acting = actors.map((actor) => actor.act(() => alive).catch((error) => failures.push(error)));
  await pause(20 + random() * 500);
  server.kill('SIGKILL');
  alive = false;
  await server.exited;
  await Promise.all(acting);
  if (failures.length > 0) throw failures[0];
}

async function verify(client, { actors, boards }) {
  for (const board of boards) await board.verify(client);
  await Promise.all(actors.map((actor) => actor.verify()));
}

async function main() {
  const data = makeDirectory();
  const client = new Client();
  const troupe = cast(client);
  let server = await Server.start({ data });
  client.connect(server.port);
  for (const one of troupe.prepared) await one.prepare(client);
  await verify(client, troupe);
  let fence = 0;
  for (let n = 1; n <= kills; n++) {
    const [answered, unknown] = [client.answered, client.unknown];
    await round(client, server, troupe);
    const counters = checkFiles(data);
    assert.ok(counters.fence >= fence, `the partition's fence went back from ${fence} to ${counters.fence}`);
    fence = counters.fence;
    const begun = Date.now();
    const started = await startServer(data);
    server = started.server;
    n += started.killed;
    client.connect(server.port);
    await verify(client, troupe);
    console.log(`kill ${n} of ${kills}: ${client.answered - answered} answered, ${client.unknown - unknown} unknown, whole again after ${Date.now() - begun} ms`);
  }
  const end = await server.stop();
  assert.deepEqual(end, { code: 0, signal: null }, server.log);
  checkFiles(data);
  rmSync(data, { recursive: true, force: true });
  console.log(`crash: ${kills} kills survived, ${client.answered} requests answered, ${client.unknown} of unknown outcome, seed ${seed}`);
}

console.log(`crash: ${kills} kills, seed ${seed}`);
main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    console.error(`crash: FAILED with --kills ${kills} --seed ${seed}`);
    process.exit(1);
  },
);
