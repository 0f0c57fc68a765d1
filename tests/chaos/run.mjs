// One cluster under one schedule: members, clients, faults one after the other, and at the end the verdict.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { Cluster } from '../members/members.mjs';
import { Asker } from './ask.mjs';
import { checkAll } from './check/check.mjs';
import { History } from './check/history.mjs';
import { pause, Slot } from './client.mjs';
import { faults } from './faults.mjs';
import { Leaders } from './leaders.mjs';
import { LockClient } from './locks.mjs';
import { longestGap, longestWait, Probe, served } from './probes.mjs';
import { Consumer, Producer, queueSettings } from './queues.mjs';
import { generator } from './random.mjs';
import { provisions, schedule } from './schedule.mjs';
import { SessionClient } from './sessions.mjs';
import { makeWorld } from './world.mjs';

const PARTITIONS = 8;
const WELL_MS = 60000;
const DRAINED_MS = 60000;
const times = (n, make) => Array.from({ length: n }, (_, i) => make(i));

class ChaosCluster extends Cluster {
  constructor(world, steps) {
    super({ partitions: PARTITIONS });
    Object.assign(this, { world, ...provisions(steps), named: 0, standsInFor: null, disks: [] });
  }

  nextName() {
    return `n${this.named + 1}`;
  }

  // Members come in the order of the schedule's numbers, but for one that takes another's.
  async place(name) {
    const n = this.standsInFor ?? this.members.length;
    const place = await this.world.place(name);
    this.named += 1;
    if (this.small.has(n)) {
      this.disks.push(join(this.dir, name));
      this.world.small(this.disks.at(-1));
    }
    return { ...place, under: [...place.under, ...(this.clocks.has(n) ? this.world.clocks.under(name) : [])] };
  }

  // A new member, which will be in that one's place.
  async standIn(n) {
    this.standsInFor = n;
    this.newcomer = await this.join(this.nextName());
    this.standsInFor = null;
  }

  // The one whose place it is goes: by the command, which says so when all that it had is elsewhere.
  async leave(n) {
    const old = this.members[n];
    const told = await this.admin(this.newcomer, 'leave', old.name);
    if (told.code !== 0) throw new Error(`${old.name} does not leave: ${told.err}${told.out}`);
    const { code, signal } = await old.exited;
    if (code !== 0) throw new Error(`${old.name} ended by ${signal ?? code} when it had left\n${old.log}`);
    this.forget(this.newcomer);
    this.members[n] = this.newcomer;
  }
}

export class Run {
  constructor({ seed, size, rounds, kinds, seconds, say }) {
    this.scratch = mkdtempSync(join(tmpdir(), 'ringhold-chaos-'));
    this.world = makeWorld(this.scratch);
    this.steps = schedule({ seed, size, rounds, kinds, has: this.world.has });
    this.cluster = new ChaosCluster(this.world, this.steps);
    this.leaders = new Leaders(this.cluster, say);
    this.random = generator(seed ^ 0x5eed);
    this.history = new History();
    this.asker = new Asker();
    this.probing = new Asker({ connectionsMax: Infinity }); // a probe's writes wait for nothing but the service
    this.ill = new Set();
    this.wrong = [];
    this.report = [];
    this.over = false;
    Object.assign(this, { seed, size, say, until: performance.now() + seconds * 1000 });
  }

  #own() {
    return generator(Math.floor(this.random() * 2 ** 31));
  }

  #place(member) {
    const { hostname: host, port } = new URL(member.base);
    return { host, port: Number(port), name: member.name };
  }

  get places() {
    return this.cluster.members.map((m) => this.#place(m));
  }

  #well() {
    return this.places.filter(({ name }) => !this.ill.has(name));
  }

  async #found() {
    await this.cluster.found('n1');
    while (this.cluster.members.length < this.size) await this.cluster.join(this.cluster.nextName());
    await this.cluster.placed();
  }

  // A name on each partition, by its id.
  async #names() {
    const [first] = this.cluster.members;
    const names = new Map();
    for (let i = 0; names.size < PARTITIONS; i++) {
      const { body } = await first.ask('GET', `/v1/ring/lookup?name=probe-${i}`);
      if (!names.has(body.partition)) names.set(body.partition, `probe-${i}`);
    }
    return names;
  }

  async #cast() {
    const run = this;
    const unexpected = [];
    const desk = { history: this.history, asker: this.asker, unexpected, get places() { return run.places; } };
    const slots = (kind, n) => times(n, (i) => new Slot(this.history, kind, `${kind}-${i}`));
    const queues = times(2, (i) => `queue-${i}`);
    for (const queue of queues) await this.cluster.members[0].ask('PUT', `/v1/queues/${queue}`, queueSettings);
    const all = (label, Kind, objects, each) =>
      objects.flatMap((object, i) => times(each, (j) => new Kind(`${label}${i}${j}`, desk, this.#own(), object)));
    this.unexpected = unexpected;
    this.sessions = all('s', SessionClient, slots('session', 4), 3);
    this.consumers = all('c', Consumer, queues, 3);
    this.clients = [
      ...this.sessions,
      ...all('l', LockClient, slots('lock', 3), 3),
      ...all('p', Producer, queues, 2),
      ...this.consumers,
    ];
    this.probes = new Map();
    for (const [id, name] of await this.#names()) {
      this.probes.set(id, new Probe(name, this.probing, this.#own(), () => this.#well()));
    }
  }

  // Until every member says it is ready and has the same whole ring, and every partition takes writes. How long it took.
  async #recovered(what) {
    const begun = performance.now();
    const writes = () => [...this.probes.values()].every((probe) => probe.firstAck(begun) < Infinity);
    let why = '';
    while (performance.now() - begun < WELL_MS) {
      why = writes() ? await this.#illness() : 'a partition takes no writes';
      if (why === null) return performance.now() - begun;
      await pause(100);
    }
    this.wrong.push(`the cluster is not well ${WELL_MS / 1000} s after ${what}: ${why}`);
    return Infinity;
  }

  async #illness() {
    const { members } = this.cluster;
    for (const member of members) {
      const ask = (path) => this.asker.ask(this.#place(member), 'GET', path, undefined, {}, 3000);
      const ready = await ask('/readyz');
      if (ready.status !== 200) return `${member.name} is not ready: ${JSON.stringify(ready)}`;
      const { body: ring } = await ask('/v1/ring');
      const active = ring?.members.filter((m) => m.state === 'active').length;
      if (active !== members.length) return `${member.name} knows ${active} active members`;
      const lacking = ring.partitions.find((p) => !p.owner || p.replicas.length !== 3);
      if (lacking) return `${member.name} has ${JSON.stringify(lacking)}`;
    }
    return null;
  }

  async #step(step, i) {
    const { kind, victim, group, holdMs, calmMs } = step;
    const hit = kind === 'halves' || kind === 'pair' ? group : [victim];
    const whom = ['kill all', 'join', 'none'].includes(kind) ? '' : ` ${hit.map((n) => this.cluster.members[n].name).join(' ')}`;
    const label = `${kind}${whom}`;
    const { body: ring } = await this.cluster.members[0].ask('GET', '/v1/ring');
    const at = new Date().toISOString();
    const from = performance.now();
    await faults[kind].begin(this, step);
    await pause(holdMs);
    const kept = served(ring, this.ill);
    const ended = performance.now();
    await faults[kind].end(this, step);
    this.ill.clear();
    const back = await this.#recovered(label);
    const to = performance.now();
    const gap = longestGap(this.probes, kept, { from, back: ended, to });
    const wait = longestWait(this.history.ops, from, to);
    this.report.push({ kind, size: this.size, hit: whom.trim(), at, holdMs, gap, wait, back });
    const ms = (t) => `${Math.round(t)} ms`.padStart(8);
    this.say(`  ${String(i + 1).padStart(2)}/${this.steps.length} ${label.padEnd(20)} for ${ms(holdMs)}; no writes ${ms(gap)}; ` +
      `a client waited ${ms(wait)}; well ${ms(back)} later`);
    await pause(calmMs);
  }

  // What is at the end: the last value of every session, and what is left in the queues.
  async #finish() {
    const until = performance.now() + DRAINED_MS;
    const drained = Promise.all(this.consumers.map((client) => client.finish(until)));
    await Promise.all(this.sessions.map((client) => client.finish()));
    if ((await drained).includes(false)) this.wrong.push(`a queue is not empty after ${DRAINED_MS / 1000} s of taking`);
    for (const probe of this.probes.values()) {
      const { body } = await this.cluster.members[0].ask('GET', `/v1/sessions/${probe.name}`);
      const loss = probe.loss(body.version);
      if (loss !== null) this.wrong.push(loss);
    }
  }

  #judge() {
    const { ops } = this.history;
    for (const { op, answer } of this.unexpected) {
      this.wrong.push(`unexpected: ${op.client} ${op.f} ${op.key}: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    const begun = performance.now();
    this.wrong.push(...checkAll(ops));
    const some = (outcome) => ops.filter((op) => op.outcome === outcome).length;
    const keys = new Set(ops.map((op) => op.key)).size;
    this.say(`  ${ops.length} operations on ${keys} objects (${some('unknown')} of unknown outcome, ${some('none')} refused), ` +
      `judged in ${Math.round(performance.now() - begun)} ms: ${this.wrong.length === 0 ? 'all is well' : 'NOT well'}`);
  }

  // Resolves to whether all was well.
  async go() {
    await this.#found();
    await this.#cast();
    const over = () => this.over;
    const acting = Promise.all([...this.clients, ...this.probes.values()].map((one) => one.act(over)));
    acting.catch(() => {}); // told below
    try {
      await Promise.race([this.#recovered('its start'), acting]);
      for (const [i, step] of this.steps.entries()) {
        if (performance.now() > this.until) {
          this.say(`  the time is over: ${this.steps.length - i} faults are left out`);
          break;
        }
        await Promise.race([this.#step(step, i), acting]);
        if (this.wrong.length > 0) break; // what comes after would hide it
      }
    } finally {
      this.over = true;
    }
    await acting;
    await this.#finish();
    this.#judge();
    return this.wrong.length === 0;
  }

  // What is needed to find out what went wrong: the history, the faults with their times, and what the members logged.
  keep() {
    const lines = this.history.ops.map((op) => JSON.stringify({ ...op, ret: Number.isFinite(op.ret) ? op.ret : null }));
    writeFileSync(join(this.scratch, 'history.jsonl'), `${lines.join('\n')}\n`);
    writeFileSync(join(this.scratch, 'faults.jsonl'), this.report.map((row) => `${JSON.stringify(row)}\n`).join(''));
    writeFileSync(join(this.scratch, 'wrong.txt'), `${this.wrong.join('\n\n')}\n`);
    for (const member of this.cluster.members) writeFileSync(join(this.scratch, `${member.name}.log`), member.log);
    return this.scratch;
  }

  // Ends all that was started and removes what was made, but for what was kept.
  async clean({ kept = false } = {}) {
    this.over = true;
    this.asker.close();
    this.probing.close();
    for (const member of this.cluster.members) member.kill('SIGKILL');
    await Promise.all(this.cluster.members.map((m) => m.exited));
    this.world.dismantle(this.cluster.disks);
    rmSync(this.cluster.dir, { recursive: true, force: true });
    if (!kept) rmSync(this.scratch, { recursive: true, force: true });
  }
}
