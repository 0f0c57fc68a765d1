// The schedule: the same from the same seed, whole, and never more than the cluster can bear.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faults } from './faults.mjs';
import { FAULTS, provisions, schedule } from './schedule.mjs';

const EVERYTHING = ['network', 'mounts', 'clock'];
const long = (seed, more = {}) => schedule({ seed, size: 5, rounds: 2, has: EVERYTHING, ...more });

test('a seed gives the same schedule again, another seed another', () => {
  assert.deepEqual(long(7), long(7));
  assert.notDeepEqual(long(7), long(8));
});

test('every kind of fault comes, and each is known', () => {
  assert.deepEqual(Object.keys(faults).sort(), Object.keys(FAULTS).sort());
  assert.deepEqual([...new Set(long(1).map(({ kind }) => kind))].sort(), Object.keys(FAULTS).sort());
});

test('where something cannot be done, what needs it is left out, and the rest stays', () => {
  const kinds = new Set(long(1, { has: [] }).map(({ kind }) => kind));
  assert.deepEqual([...kinds].sort(), ['join', 'kill', 'kill all', 'leave', 'none', 'suspend', 'terminate']);
});

test('a partition leaves a majority together', () => {
  for (let seed = 0; seed < 100; seed++) {
    for (const size of [3, 5]) {
      for (const { group, victim } of long(seed, { size })) {
        assert.ok(group.length * 2 <= size + 1 && new Set(group).size === group.length);
        assert.ok([victim, ...group].every((n) => n >= 0 && n < size));
      }
      for (const { group } of long(seed, { size }).filter(({ kind }) => kind === 'halves')) assert.ok(group.length * 2 < size);
    }
  }
});

test('who is hit by a full disk or a jump of the clock is provided for', () => {
  const steps = long(3);
  const { small, clocks } = provisions(steps);
  for (const { kind, victim } of steps) {
    if (kind === 'full disk') assert.ok(small.has(victim));
    if (kind.startsWith('clock')) assert.ok(clocks.has(victim));
  }
});
