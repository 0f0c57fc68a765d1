// What is done to a cluster, and when: from a seed, so that it can be done again. Pure.
import { below, generator, shuffled } from './random.mjs';

// What each fault asks of where it runs. `none` is none: nothing must happen then.
export const FAULTS = {
  none: 'nothing',
  kill: 'nothing',
  'kill all': 'nothing',
  terminate: 'nothing',
  suspend: 'nothing',
  isolate: 'network',
  halves: 'network',
  'one way out': 'network',
  'one way in': 'network',
  pair: 'network',
  slow: 'network',
  'full disk': 'mounts',
  'clock ahead': 'clock',
  'clock back': 'clock',
  join: 'nothing',
  leave: 'nothing',
};

export const ALL = Object.keys(FAULTS);
export const SHORT = ['kill', 'suspend', 'isolate', 'one way out', 'full disk', 'clock ahead'];
const HOLD_MS = { short: [1500, 2500], long: [1500, 5000] };
const NONE_MS = 20000;
const CALM_MS = { short: [200, 500], long: [500, 1500] };

const between = (random, [low, high]) => low + below(random, high - low);

// The steps: { kind, victim, group, holdMs, calmMs }, members as numbers from 0. `group` are those cut off from the
// others. `kinds` are those that come in each round; what the place cannot do is left out.
export function schedule({ seed, size, rounds, kinds = ALL, has }) {
  const random = generator(seed);
  const able = (kind) => FAULTS[kind] === 'nothing' || has.includes(FAULTS[kind]);
  const steps = [];
  const length = kinds === SHORT ? 'short' : 'long';
  for (let round = 0; round < rounds; round++) {
    for (const kind of shuffled(random, kinds)) {
      const order = shuffled(random, [...Array(size).keys()]);
      const some = between(random, HOLD_MS[length]);
      const holdMs = kind === 'none' ? NONE_MS : some;
      const calmMs = between(random, CALM_MS[length]);
      if (!able(kind) || (kind === 'join' && round > 0)) continue;
      const group = kind === 'halves' ? order.slice(0, Math.floor(size / 2)) : kind === 'pair' ? order.slice(0, 2) : order.slice(0, 1);
      steps.push({ kind, victim: order[0], group, holdMs, calmMs });
    }
  }
  return steps;
}

// Which members need a small disk, and which a clock of their own.
export function provisions(steps) {
  const victims = (what) => new Set(steps.filter(({ kind }) => FAULTS[kind] === what).map(({ victim }) => victim));
  return { small: victims('mounts'), clocks: victims('clock') };
}

export const pickSeed = () => below(Math.random, 2 ** 31);
