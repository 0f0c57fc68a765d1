// A cluster under test: real members on loopback, each with a peer port and a data directory of its own.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { BINARY, Server } from '../http/server.mjs';

const PLACED_MS = 90000;
const RESTS_MS = 2000; // a step follows the one before within half of it
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The answer, if it has that status.
export const expect = (answer, status) => {
  const where = answer.headers.get('ringhold-partition');
  assert.equal(answer.status, status, `partition ${where}: ${JSON.stringify(answer.body)}`);
  return answer;
};

// Looks again and again, for as long as anybody would.
export async function until(holds, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `it did not come to be: ${holds}`);
    await pause(10);
  }
}

export async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

// Of a ring's status: everybody is there, and nothing is missing anywhere.
export const settled = (body) =>
  body.moves.length === 0 &&
  body.table.replicas.every((r) => r.behind === 0) &&
  body.members.every((m) => m.unseen_ms < 3000) &&
  body.partitions.every((p) => p.leader !== undefined && p.replicas.every((r) => r.role === 'voter' && r.behind === 0));

export class Cluster {
  // `host` is what members call each other by; all are on loopback.
  constructor({ partitions = 8, replicas = 3, host = '127.0.0.1' } = {}) {
    this.host = host;
    this.dir = mkdtempSync(join(tmpdir(), 'ringhold-members-'));
    this.secret = join(this.dir, 'secret');
    writeFileSync(this.secret, 'a secret that only these members know\n');
    this.partitions = partitions;
    this.replicas = replicas;
    this.members = [];
  }

  // Where a member runs: what it listens on for clients and for peers, and what it is run by.
  async place() {
    return { peer: `${this.host}:${await freePort()}` };
  }

  // Starts a member that was in before, or with the flags that let it in.
  async run(name, place, more = []) {
    const data = join(this.dir, name);
    const args = ['--peer', place.peer, '--cluster-secret-file', this.secret, '--node', name, ...more];
    const server = await Server.start({ data, args, under: place.under, listen: place.listen });
    return Object.assign(server, { name, place });
  }

  async start(name, more = []) {
    const server = await this.run(name, await this.place(name), more);
    this.members.push(server);
    return server;
  }

  found(name = 'n1') {
    const sizes = ['--partitions', String(this.partitions), '--replicas', String(this.replicas)];
    return this.start(name, ['--cluster-init', ...sizes]);
  }

  join(name) {
    return this.start(name, ['--join', new URL(this.members[0].base).host]);
  }

  // The same member again, with what it has on disk.
  async again(old, ...more) {
    const server = await this.run(old.name, old.place, more);
    const at = this.members.indexOf(old);
    this.members[at < 0 ? this.members.length : at] = server;
    return server;
  }

  // One of the program's commands, to its end: { code, out, err }.
  command(...words) {
    const child = spawn(BINARY, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    const ran = { code: null, out: '', err: '' };
    child.stdout.on('data', (chunk) => (ran.out += chunk));
    child.stderr.on('data', (chunk) => (ran.err += chunk));
    const timer = setTimeout(() => child.kill('SIGKILL'), PLACED_MS);
    return new Promise((resolve) =>
      child.once('close', (code) => {
        clearTimeout(timer);
        resolve({ ...ran, code });
      }),
    );
  }

  // A command that proves the cluster's secret, asked of a member.
  admin(member, ...words) {
    return this.command(...words, '--url', member.base, '--cluster-secret-file', this.secret);
  }

  // Starts a member's directory where it is not taken: what it is refused with.
  async refused(old, ...more) {
    const peer = ['--peer', old.place.peer, '--cluster-secret-file', this.secret, '--node', old.name];
    return this.command('--listen', '127.0.0.1:0', '--data', old.data, ...peer, ...more);
  }

  // A member that has ended is none of ours any longer.
  forget(old) {
    this.members = this.members.filter((m) => m !== old);
  }

  // Until the ring, as every member that lives tells it, is as `fits` wants it.
  async settled(fits, members = this.members) {
    const until = Date.now() + PLACED_MS;
    let rings = [];
    while (Date.now() < until) {
      rings = await Promise.all(members.map((m) => m.ask('GET', '/v1/ring').catch(() => ({ status: 0 }))));
      if (rings.every((r) => r.status === 200 && fits(r.body))) return rings[0].body;
      await pause(200);
    }
    throw new Error(`the ring does not become what it should be: ${JSON.stringify(rings.map((r) => r.body))}`);
  }

  // How the ring is doing, as that member tells it, once it is as it should be.
  async status(member, fits) {
    const until = Date.now() + PLACED_MS;
    for (;;) {
      const { status, body } = await member.ask('GET', '/v1/ring/status');
      if (status === 200 && fits(body)) return body;
      if (Date.now() > until) throw new Error(`the ring does not come to be so: ${JSON.stringify(body)}`);
      await pause(100);
    }
  }

  // Until all are up where they are now, each partition has its replicas, and each member leads something; and nothing
  // of that is on its way any more, so that all of the replicas vote.
  placed() {
    const since = new Map(); // of each epoch: when it was first seen
    const rests = (ring) => {
      if (!since.has(ring.epoch)) since.set(ring.epoch, performance.now());
      return performance.now() - since.get(ring.epoch) > RESTS_MS;
    };
    const whole = (ring) =>
      rests(ring) &&
      this.members.every((m) => ring.members.some((r) => r.name === m.name && r.url === m.base && r.state === 'active')) &&
      ring.partitions.every((p) => p.replicas.length === this.replicas) &&
      new Set(ring.partitions.map((p) => p.owner)).size === this.members.length;
    return this.settled(whole);
  }

  // Three members, n1 to n3.
  async three() {
    await this.found('n1');
    await this.join('n2');
    await this.join('n3');
    return this.members;
  }

  // Stops all, each of which must end as it should.
  async stopWell() {
    for (const end of await this.stop()) assert.equal(end.code, 0, JSON.stringify(end));
  }

  async stop() {
    const ends = await Promise.all(this.members.map((m) => m.stop()));
    rmSync(this.dir, { recursive: true, force: true });
    return ends;
  }
}
