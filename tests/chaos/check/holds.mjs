// Locks, by what their holders believe: no two hold one lock at once, and a later grant has a greater fence. It says less
// than the model of a lock does, but needs no search, and says plainly who held what beside whom.
import { show } from './history.mjs';

// From the answer until the holder lets go, or must take it that the lease has run out: ttl after its last successful
// request was sent.
function holds(ops) {
  const leases = new Map();
  for (const op of ops) {
    const { lease, ttl } = op.input;
    const hold = leases.get(lease) ?? { lease, from: Infinity, asked: Infinity, until: -Infinity, fence: null, ops: [] };
    leases.set(lease, hold);
    hold.ops.push(op);
    if (op.f === 'acquire') hold.asked = Math.min(hold.asked, op.invoke);
    if (op.f === 'release') hold.released = Math.min(hold.released ?? Infinity, op.invoke);
    if (op.outcome !== 'ok' || op.f === 'release') continue;
    const granted = op.f === 'acquire' && (op.output.status === 201 || op.output.status === 200);
    if (granted) {
      Object.assign(hold, { from: Math.min(hold.from, op.ret), fence: op.output.fence });
      hold.until = Math.max(hold.until, hold.asked + ttl);
    }
    if (op.f === 'renew' && op.output.status === 200) hold.until = Math.max(hold.until, op.invoke + ttl);
  }
  const held = [...leases.values()].filter((hold) => hold.fence !== null);
  for (const hold of held) hold.until = Math.min(hold.until, hold.released ?? Infinity);
  return held;
}

const told = (a, b) => [...a.ops, ...b.ops].map((op) => `    ${show(op)}`).join('\n');

// Sentences on what is wrong with the history of one lock.
export function checkHolds(key, ops) {
  const wrong = [];
  const held = holds([...ops].sort((a, b) => a.invoke - b.invoke)).sort((a, b) => a.from - b.from);
  const fences = new Map();
  for (const hold of held) {
    const other = fences.get(hold.fence);
    if (other) wrong.push(`${key}: fence ${hold.fence} was granted to ${other.lease} and to ${hold.lease}\n${told(other, hold)}`);
    fences.set(hold.fence, hold);
  }
  held.forEach((a, i) => {
    for (const b of held.slice(i + 1)) {
      if (b.from < a.until && a.from < b.until) wrong.push(`${key}: held by ${a.lease} and ${b.lease} at once\n${told(a, b)}`);
      if (a.from < b.asked && a.fence > b.fence) wrong.push(`${key}: fence ${b.fence} was granted after ${a.fence}\n${told(a, b)}`);
    }
  });
  return wrong;
}
