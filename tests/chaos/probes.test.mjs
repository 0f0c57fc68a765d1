// The probes' arithmetic, in a time of the test's own: what they tell is the service's doing, not theirs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVERY_MS, longestGap, PATIENCE_MS, Probe, served } from './probes.mjs';

// Goes from one that waits to the next, in no time.
class Time {
  constructor() {
    this.at = 0;
    this.sleepers = [];
    this.now = () => this.at;
    this.pause = (ms) => new Promise((wake) => this.sleepers.push({ at: this.at + ms, wake }));
  }

  async pass() {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve)); // whoever was woken goes to sleep again
      if (this.sleepers.length === 0) return;
      this.sleepers.sort((a, b) => a.at - b.at);
      const { at, wake } = this.sleepers.shift();
      this.at = at;
      wake();
    }
  }
}

// Acknowledges a write at once, but not while it is `away(now)`: who asks then is never answered.
class Service {
  constructor(time, away) {
    Object.assign(this, { time, away, version: 0, underWay: 0, most: 0 });
  }

  async ask(place, method, path, body, headers, patience) {
    const hangs = this.away(this.time.now());
    this.most = Math.max(this.most, ++this.underWay);
    await this.time.pause(hangs ? patience : 1);
    this.underWay--;
    return hangs ? { kind: 'unknown', why: 'no answer' } : { kind: 'answer', status: 200, body: { version: ++this.version } };
  }
}

async function probed(until, away) {
  const time = new Time();
  const service = new Service(time, away);
  const probe = new Probe('p', service, () => 0, () => ['n1'], time);
  const acting = probe.act(() => time.now() >= until);
  await time.pass();
  await acting;
  return { probe, service };
}

const acked = (...ends) => Object.assign(new Probe('p'), { acks: ends.map((ended, i) => ({ begun: ended - 1, ended, version: i + 1 })) });
const ring = (...replicas) => ({ partitions: replicas.map((names, id) => ({ id, replicas: names })) });

test('a write that hangs does not make the gap longer than the service was away', async () => {
  const { probe } = await probed(4000, (now) => now >= 1000 && now < 1300);
  const gap = probe.gap(0, 4000);
  assert.ok(gap >= 300 && gap <= 300 + 2 * EVERY_MS, `${gap} ms`);
});

test('one write in ten that hangs makes no gap at all', async () => {
  const { probe } = await probed(4000, (now) => now % 500 < EVERY_MS);
  assert.ok(probe.gap(0, 4000) <= 3 * EVERY_MS, `${probe.gap(0, 4000)} ms`);
});

test('while nothing is answered some tens are under way, no more', async () => {
  const { service } = await probed(5000, () => true);
  assert.ok(service.most > 10 && service.most <= PATIENCE_MS / EVERY_MS + 1, `${service.most}`);
});

test('only a gap with a part in the time that is asked for counts', () => {
  const probe = acked(100, 900, 950, 1000, 1400, 1450);
  assert.equal(probe.gap(910, 960), 50);
  assert.equal(probe.gap(910, 1000), 400);
  assert.equal(probe.gap(850, 960), 800);
});

test('the first write after a moment is one that began after it', () => {
  const probe = acked(100, 200, 300);
  assert.equal(probe.firstAck(199), 200);
  assert.equal(probe.firstAck(199.5), 300);
  assert.equal(probe.firstAck(300), Infinity);
});

test('a partition without a majority of well replicas is not to be served', () => {
  const some = ring(['n1', 'n2', 'n3'], ['n3', 'n4', 'n5'], ['n4', 'n5', 'n1']);
  assert.deepEqual([...served(some, new Set(['n1', 'n2']))], [1, 2]);
  assert.deepEqual([...served(some, new Set())], [0, 1, 2]);
});

test('a partition that had no majority counts from when it may have one again', () => {
  const probes = new Map([[0, acked(1000, 1100, 1500, 6000)], [1, acked(1000, 5300, 6000)]]);
  const when = { from: 1050, back: 5000, to: 5600 };
  assert.equal(longestGap(probes, new Set([0, 1]), when), 4500);
  assert.equal(longestGap(new Map([[0, acked(1000, 1100, 1500, 1600, 6000)], [1, probes.get(1)]]), new Set([0]), { ...when, to: 1590 }), 400);
  assert.equal(longestGap(probes, new Set([]), when), 1000);
});

test('a version that went back, or that two writes were told, is a loss', () => {
  assert.equal(acked(1, 2, 3).loss(3), null);
  assert.equal(acked(1, 2, 3).loss(4), null); // of a write without an answer
  assert.match(acked(1, 2, 3).loss(2), /is at version 2, 3 was acknowledged/);
  assert.match(acked(1, 2, 3).loss(undefined), /3 was acknowledged/);
  const twice = acked(1, 2, 3);
  twice.acks[2].version = 2;
  assert.match(twice.loss(4), /version 2 was acknowledged for two writes/);
});
