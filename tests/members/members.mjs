// A cluster under test: real members on loopback, each with a peer port and a data directory of its own.
import { createServer } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server } from '../http/server.mjs';

const PLACED_MS = 90000;
const RESTS_MS = 2000; // a step follows the one before within half of it
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

export class Cluster {
  constructor({ partitions = 8 } = {}) {
    this.dir = mkdtempSync(join(tmpdir(), 'ringhold-members-'));
    this.secret = join(this.dir, 'secret');
    writeFileSync(this.secret, 'a secret that only these members know\n');
    this.partitions = partitions;
    this.members = [];
  }

  // Where a member runs: what it listens on for clients and for peers, and what it is run by.
  async place() {
    return { peer: `127.0.0.1:${await freePort()}` };
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
    return this.start(name, ['--cluster-init', '--partitions', String(this.partitions), '--replicas', '3']);
  }

  join(name) {
    return this.start(name, ['--join', new URL(this.members[0].base).host]);
  }

  // The same member again, with what it has on disk.
  async again(old) {
    const server = await this.run(old.name, old.place);
    this.members[this.members.indexOf(old)] = server;
    return server;
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

  // Until all are up where they are now, each partition has three replicas, and each member leads something; and nothing
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
      ring.partitions.every((p) => p.replicas.length === 3) &&
      new Set(ring.partitions.map((p) => p.owner)).size === this.members.length;
    return this.settled(whole);
  }

  async stop() {
    const ends = await Promise.all(this.members.map((m) => m.stop()));
    rmSync(this.dir, { recursive: true, force: true });
    return ends;
  }
}
