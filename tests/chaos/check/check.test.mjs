// The checks themselves: what is right passes, what is wrong is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { below, generator, pick } from '../random.mjs';
import { checkAll } from './check.mjs';
import { imagineLock, imagineQueue, imagineSession } from './imagined.mjs';

const SEEDS = 150;

// Operations told in short: times as [call, answer], an answer of null for an unknown outcome.
const op = (client, key, f, input, [invoke, ret], output) => ({
  client, key, f, input, invoke, ret: output === null ? Infinity : ret, outcome: output === null ? 'unknown' : 'ok', output,
});
const session = (client, f, input, times, output) => op(client, 'session s', f, input, times, output);
const lock = (client, f, times, output, more = {}) =>
  op(client, 'lock l', f, { lease: client, ttl: 100, wait: 0, ...more }, times, output);
const queue = (client, f, input, times, output) => op(client, 'queue q', f, input, times, output);

const right = (ops) => assert.deepEqual(checkAll(ops), []);
const wrong = (ops, sentence) => assert.match(checkAll(ops).join('\n'), sentence);

const made = session('a', 'create', { data: { a: 1 } }, [0, 10], { status: 201, version: 1, data: { a: 1 } });
const cas = (client, version, n, times, output) => session(client, 'cas', { version, data: { [client]: n } }, times, output);

test('writes that follow one another are in order', () => {
  right([made, cas('b', 1, 2, [11, 20], { status: 200, version: 2, data: { b: 2 } })]);
});

test('of two writes on one version at once, one may win', () => {
  const won = cas('b', 1, 2, [11, 20], { status: 200, version: 2, data: { b: 2 } });
  right([made, won, cas('c', 1, 3, [11, 20], { status: 412, current: 2 })]);
  wrong([made, won, cas('c', 1, 3, [11, 20], { status: 200, version: 3, data: { c: 3 } })], /not linearizable/);
  wrong([made, won, cas('c', 1, 3, [21, 30], { status: 412, current: 1 })], /not linearizable/);
  right([cas('c', 0, 3, [0, 5], { status: 412, current: 0 }), { ...made, invoke: 6 }]);
});

test('an acknowledged write that a later one does not see is lost', () => {
  const put = session('b', 'put', { data: { b: 2 } }, [11, 20], { status: 200, version: 2, data: { b: 2 } });
  const patch = (data) => session('c', 'patch', { data: { c: 3 } }, [21, 30], { status: 200, version: 3, data });
  right([made, put, patch({ b: 2, c: 3 })]);
  wrong([made, put, patch({ a: 1, c: 3 })], /not linearizable/);
});

test('a write of unknown outcome may take effect late, or never, but not before its call', () => {
  const unknown = session('b', 'put', { data: { b: 2 } }, [11], null);
  const read = (times, version, data) => session('c', 'read', {}, times, { status: 200, version, data });
  right([made, unknown, read([20, 30], 1, { a: 1 })]);
  right([made, unknown, read([20, 30], 1, { a: 1 }), read([900, 901], 2, { b: 2 })]);
  wrong([made, unknown, read([20, 30], 2, { b: 2 }), read([31, 40], 1, { a: 1 })], /not linearizable/);
  wrong([made, { ...unknown, invoke: 50 }, read([20, 30], 2, { b: 2 })], /not linearizable/);
});

test('what surely had no effect must not be seen', () => {
  const refused = { ...session('b', 'put', { data: { b: 2 } }, [11, 20], { code: 'no-leader' }), outcome: 'none' };
  const patch = (data) => session('c', 'patch', { data: { c: 3 } }, [21, 30], { status: 200, version: 3, data });
  wrong([made, refused, patch({ b: 2, c: 3 })], /not linearizable/);
});

test('a strong read is of now, and no version goes back', () => {
  const second = cas('b', 1, 2, [11, 20], { status: 200, version: 2, data: { b: 2 } });
  wrong([made, second, session('c', 'read', {}, [21, 30], { status: 200, version: 1, data: { a: 1 } })], /not linearizable/);
  wrong([made, cas('b', 1, 2, [11, 20], { status: 200, version: 1, data: { b: 2 } })], /not linearizable/);
});

test('a stale read is of some earlier time, no longer ago than it says', () => {
  const second = cas('b', 1, 2, [11, 20], { status: 200, version: 2, data: { b: 2 } });
  const stale = (times, version, data, age) => session('c', 'stale', {}, times, { status: version ? 200 : 404, version, data, age });
  right([made, second, stale([21, 30], 2, { b: 2 }, 0), stale([21, 30], 1, { a: 1 }, 5)]);
  right([made, second, stale([900, 910], 1, { a: 1 }, 881), stale([900, 910], 1, { a: 1 }, null)]);
  wrong([made, second, stale([900, 910], 1, { a: 1 }, 879)], /version 2 was known 880.0 ms before, it says 879/);
  right([made, stale([12, 15], 0, undefined, 3)]);
  wrong([made, stale([12, 15], 0, undefined, 1)], /version 1 was known/);
  wrong([made, second, stale([900, 910], 1, { a: 7 }, null)], /version 1 had/);
  wrong([made, second, stale([3, 8], 2, { b: 2 }, 0)], /not written yet/);
  wrong([made, stale([12, 15], 5, { x: 1 }, 0)], /nobody wrote that/);
  // Of a write that nobody was told of it may be the first sign, and then it is known.
  const unknown = session('b', 'put', { data: { b: 2 } }, [11], null);
  right([made, unknown, stale([20, 30], 2, { b: 2 }, 0), stale([31, 40], 1, { a: 1 }, 0)]);
});

test('a lock is held by one until it is released or its time is over', () => {
  const a = lock('a', 'acquire', [0, 10], { status: 201, fence: 1 });
  const b = (times, fence = 2) => lock('b', 'acquire', times, { status: 201, fence });
  right([a, lock('a', 'release', [20, 30], { status: 204 }), b([25, 35])]);
  right([a, b([95, 105])]);
  wrong([a, b([20, 30])], /held by a and b at once/);
  wrong([a, lock('a', 'renew', [50, 60], { status: 200, fence: 1 }), b([95, 140])], /held by a and b at once|not linearizable/);
  right([a, lock('a', 'renew', [50, 60], { status: 200, fence: 1 }), b([95, 151])]);
  wrong([a, b([95, 105], 1)], /fence 1 was granted to a and to b/);
  wrong([{ ...a, output: { status: 201, fence: 7 } }, b([200, 210])], /fence 2 was granted after 7/);
});

test('a lease that is said to have run out must have had its time', () => {
  const a = lock('a', 'acquire', [0, 10], { status: 201, fence: 1 });
  right([a, lock('a', 'renew', [90, 110], { status: 410 })]);
  wrong([a, lock('a', 'renew', [50, 60], { status: 410 })], /not linearizable/);
  wrong([a, lock('b', 'acquire', [150, 160], { status: 201, fence: 2 }), lock('a', 'release', [170, 180], { status: 204 })],
    /not linearizable/);
});

test('a lock that is refused is held, and by whom the refusal says', () => {
  const a = lock('a', 'acquire', [0, 10], { status: 201, fence: 1 });
  const refused = (holder) => lock('b', 'acquire', [20, 30], { status: 409, holder });
  right([a, refused({ lease: 'a', fence: 1 })]);
  wrong([a, refused({ lease: 'c', fence: 1 })], /not linearizable/);
  wrong([a, refused({ lease: 'a', fence: 2 })], /not linearizable/);
  wrong([a, lock('a', 'release', [11, 19], { status: 204 }), refused({ lease: 'a', fence: 1 })], /not linearizable/);
});

test('an acquiring of unknown outcome may hold the lock, by a fence that nobody was told', () => {
  const unknown = lock('a', 'acquire', [0], null);
  right([unknown, lock('b', 'acquire', [20, 30], { status: 409, holder: { lease: 'a', fence: 1 } })]);
  right([unknown, lock('a', 'acquire', [20, 30], { status: 200, fence: 1 })]);
  right([unknown, lock('b', 'acquire', [20, 30], { status: 201, fence: 1 })]);
  wrong([unknown, lock('a', 'acquire', [20, 30], { status: 200, fence: 1 }), lock('b', 'acquire', [40, 50], { status: 201, fence: 2 })],
    /held by a and b at once/);
});

test('a lease that has ended is not granted again', () => {
  const a = lock('a', 'acquire', [0, 10], { status: 201, fence: 1 });
  const released = lock('a', 'release', [11, 20], { status: 204 });
  right([a, released, lock('a', 'acquire', [21, 30], { status: 410 })]);
  wrong([a, released, lock('a', 'acquire', [21, 30], { status: 201, fence: 2 })], /not linearizable/);
});

test('one that waited may have been granted, and have run out before its answer came', () => {
  const over = lock('a', 'acquire', [0, 200], { status: 410 }, { wait: 20 });
  const sees = (times) => lock('b', 'acquire', times, { status: 409, holder: { lease: 'a', fence: 1 } });
  const next = (times) => lock('c', 'acquire', times, { status: 201, fence: 2 });
  right([over, sees([50, 60])]);
  right([over, sees([50, 60]), next([150, 160])]);
  wrong([over, next([50, 60]), sees([70, 80])], /not linearizable/);
  wrong([over, sees([210, 220])], /not linearizable/);
  wrong([{ ...over, input: { ...over.input, wait: 0 } }, sees([50, 60])], /not linearizable/);
});

const sent = (id, times, output = { ids: ['1'] }, group) => queue('p', 'send', { messages: [{ id, group }] }, times, output);
const got = (client, id, times, fence, of = '1') =>
  queue(client, 'receive', { lease_ms: 50 }, times, { messages: [{ id, of, receipt: `r${fence}`, fence }] });
const acked = (client, id, times, outcome = 'acked') =>
  queue(client, 'ack', { receipts: [{ id, receipt: 'r' }] }, times, outcome && { outcomes: [outcome] });

test('a message is delivered, again when its lease runs out, and no more once it is acknowledged', () => {
  right([sent('m', [0, 10]), got('a', 'm', [11, 20], 1), got('b', 'm', [21, 70], 2), acked('b', 'm', [71, 80])]);
  right([sent('m', [0, 10]), got('a', 'm', [11, 20], 1), acked('a', 'm', [21, 30], null), got('b', 'm', [60, 90], 2)]);
  wrong([sent('m', [0, 10]), got('a', 'm', [11, 20], 1), acked('a', 'm', [21, 30]), got('b', 'm', [60, 90], 2)],
    /delivered again after it was acknowledged/);
  wrong([sent('m', [0, 10]), got('a', 'm', [11, 20], 1), got('b', 'm', [21, 30], 2)], /while leased to the first/);
  wrong([sent('m', [0, 10]), got('a', 'm', [11, 20], 2), got('b', 'm', [70, 90], 1)], /fence 1 after 2/);
});

test('no message is lost, made up or doubled', () => {
  wrong([sent('m', [0, 10])], /is lost/);
  right([sent('m', [0], null)]);
  right([sent('m', [0], null), got('a', 'm', [11, 20], 1)]);
  wrong([got('a', 'm', [11, 20], 1)], /nobody sent it/);
  wrong([sent('m', [0, 10]), got('a', 'm', [11, 20], 1), got('b', 'm', [91, 99], 2, '2')], /in the queue twice/);
});

test('a group is one at a time, in the order it was sent', () => {
  const two = [sent('m', [0, 10], { ids: ['1'] }, 'g'), sent('n', [11, 20], { ids: ['2'] }, 'g')];
  const [m, n] = [got('a', 'm', [21, 30], 1), got('b', 'n', [41, 50], 2, '2')];
  right([...two, m, acked('a', 'm', [31, 40]), n]);
  right([...two, m, acked('a', 'm', [31, 49], null), n]);
  wrong([...two, m, n], /n came before m was settled/);
  wrong([...two, m, n, acked('a', 'm', [60, 70])], /n came before m was settled/);
});

// ---- many at random ---------------------------------------------------------------------------------------------------

const IMAGINED = { session: imagineSession, lock: imagineLock, queue: imagineQueue };

for (const [kind, imagine] of Object.entries(IMAGINED)) {
  test(`${SEEDS} imagined histories of a ${kind} pass`, () => {
    let unknown = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const ops = imagine(generator(seed), { lost: seed % 2 ? 0.06 : 0.01 });
      unknown += ops.filter((one) => one.outcome === 'unknown').length;
      assert.deepEqual(checkAll(ops), [], `seed ${seed}`);
    }
    assert.ok(unknown > SEEDS, 'outcomes were unknown');
  });
}

const answered = (ops, fits) => ops.filter((one) => one.outcome === 'ok' && fits(one));
const holdsNow = ({ f, output }) => f === 'acquire' && output.status === 201;

// What spoils a history of that kind for certain. Each gives the spoilt history, or null where there is nothing that it
// can spoil.
const SPOILERS = {
  session: {
    'an answer is from another version': (random, ops) => {
      const one = pick(random, answered(ops, ({ output }) => output.version > 2));
      return one && ops.map((o) => (o === one ? { ...o, output: { ...o.output, version: o.output.version - 1 } } : o));
    },
    'an acknowledged write never was': (random, ops) => {
      // Gone from the history, while those after it say that they saw it.
      const one = pick(random, answered(ops, ({ f, output }) => f === 'patch' && output.status === 200));
      return one && answered(ops, (o) => o.invoke > one.ret && o.f === 'patch' && o.output.data?.[one.client] === one.input.data[one.client]).length
        ? ops.filter((o) => o !== one) : null;
    },
    'a read is older than what was acknowledged': (random, ops) => {
      const writes = answered(ops, ({ output }) => output.version > 0 && output.data);
      const [one, last] = [writes[0], writes.at(-1)];
      if (!one || one.output.version === last.output.version) return null;
      const read = { ...one, client: 'r', f: 'read', input: {}, invoke: last.ret + 1, ret: last.ret + 2 };
      return [...ops, { ...read, output: { ...one.output, status: 200 } }];
    },
  },
  lock: {
    'a fence is granted twice': (random, ops) => {
      const [one, two] = answered(ops, holdsNow);
      return two ? ops.map((o) => (o === two ? { ...o, output: { ...o.output, fence: one.output.fence } } : o)) : null;
    },
    'a second is granted it at once': (random, ops) => {
      const one = answered(ops, holdsNow).find((o) => !ops.some((r) => r.input.lease === o.input.lease && r.f !== 'acquire'));
      if (!one) return null;
      const times = { invoke: one.ret + 0.01, ret: one.ret + 0.02 };
      return [...ops, { ...one, client: 'x', input: { ...one.input, lease: 'x' }, ...times, output: { status: 201, fence: 1e6 } }];
    },
    'it is refused though nobody holds it': (random, ops) => {
      const one = answered(ops, ({ f, output }) => f === 'release' && output.status === 204)[0];
      if (!one || ops.some((o) => o.outcome === 'unknown')) return null;
      const holder = { lease: one.input.lease, fence: 1 };
      const late = { invoke: 1e6, ret: 1e6 + 1 };
      return [...ops, { ...one, f: 'acquire', input: { ...one.input, lease: 'x' }, ...late, output: { status: 409, holder } }];
    },
  },
  queue: {
    'a message is lost': (random, ops) => {
      const one = pick(random, answered(ops, ({ f }) => f === 'send'));
      const { id } = one.input.messages[0];
      const without = (o) => (o.f === 'receive' && o.outcome === 'ok'
        ? { ...o, output: { messages: o.output.messages.filter((m) => m.id !== id) } } : o);
      return ops.map(without);
    },
    'what was acknowledged comes again': (random, ops) => {
      const one = pick(random, answered(ops, ({ f, output }) => f === 'ack' && output.outcomes[0] === 'acked'));
      const given = ops.flatMap((o) => o.output?.messages ?? []).find((m) => m.receipt === one.input.receipts[0].receipt);
      const late = { invoke: 1e6, ret: 1e6 + 1, client: 'x', f: 'receive', input: { max: 1, lease_ms: 1 } };
      return [...ops, { ...one, ...late, output: { messages: [{ ...given, fence: 1e6, receipt: 'x' }] } }];
    },
    'a message is in it twice': (random, ops) => {
      const one = pick(random, answered(ops, ({ f, output }) => f === 'receive' && output.messages.length > 0));
      const late = { invoke: 1e6, ret: 1e6 + 1, client: 'x' };
      return [...ops, { ...one, ...late, output: { messages: [{ ...one.output.messages[0], of: 'x', fence: 1e6, receipt: 'x' }] } }];
    },
  },
};

for (const [kind, spoilers] of Object.entries(SPOILERS)) {
  for (const [what, spoil] of Object.entries(spoilers)) {
    test(`a ${kind}'s history is refused when ${what}`, () => {
      let spoilt = 0;
      for (let seed = 1; seed <= SEEDS; seed++) {
        const random = generator(seed);
        const ops = spoil(random, IMAGINED[kind](random, { lost: seed % 2 ? 0.03 : 0 }));
        if (!ops) continue;
        spoilt += 1;
        assert.notDeepEqual(checkAll(ops), [], `seed ${seed}`);
      }
      assert.ok(spoilt >= SEEDS / 8, `only ${spoilt} histories could be spoilt`);
    });
  }
}
