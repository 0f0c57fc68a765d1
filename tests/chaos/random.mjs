// mulberry32: small, and the same everywhere. A generator of numbers from 0 to below 1.
export function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const below = (random, n) => Math.floor(random() * n);
export const pick = (random, list) => list[below(random, list.length)];

export function shuffled(random, list) {
  const rest = [...list];
  return list.map(() => rest.splice(below(random, rest.length), 1)[0]);
}
