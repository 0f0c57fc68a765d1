// A mutex as the checker sees it: who holds it, by which fence, and before when the hold cannot run out. `start` is when
// the acquiring was first asked for, `until` the earliest end: a lease lasts at least its ttl from the moment it was asked
// for. A fence that nobody was told is above `fence` until an answer tells it (`told`). `ended` remembers how leases ended.

const none = { holder: null, told: true, start: 0, until: 0 };

// What ends of itself may have ended by the time of the answer.
const mayHaveRunOut = (state, op) => op.ret >= state.until;

const howEnded = (state, lease) => state.ended[lease];
const ending = (state, lease, how) => ({ ...state, ...none, ended: { ...state.ended, [lease]: how } });

// The state with nobody holding it, or null while somebody must.
function vacant(state, op) {
  if (state.holder === null) return state;
  return mayHaveRunOut(state, op) ? ending(state, state.holder, 'expired') : null;
}

// The state, if its hold can be of that fence.
function byFence(state, fence) {
  if (state.told) return state.fence === fence ? state : null;
  return fence > state.fence ? { ...state, fence, told: true } : null;
}

function grant(state, op, fence) {
  const { lease, ttl } = op.input;
  const free = vacant(state, op);
  if (free === null || howEnded(free, lease)) return null;
  const hold = { holder: lease, start: op.invoke };
  if (fence === null) {
    // Of one that waits in line, the grant that nobody collects lapses early.
    return { ...free, ...hold, told: false, until: op.input.wait > 0 ? op.invoke : op.invoke + ttl };
  }
  return fence > free.fence ? { ...free, ...hold, fence, told: true, until: op.invoke + ttl } : null;
}

function acquire(state, op) {
  const { lease, ttl } = op.input;
  const { status, fence, holder } = op.output;
  // Who stands in line while the leader changes stands there again with the next, and may find itself granted: 200.
  const waited = status === 200 && op.input.wait > 0 && state.holder !== lease;
  if (status === 201 || waited) return state.holder === lease ? null : grant(state, op, fence);
  if (status === 200) {
    const replayed = state.holder === lease ? byFence(state, fence) : null;
    return replayed && { ...replayed, until: Math.max(replayed.until, replayed.start + ttl) };
  }
  // Of one who waited in vain it says nothing of now: when the time was over the lock was another's, or another's turn.
  if (status === 409 && op.input.wait > 0) return state.holder === lease ? null : state;
  if (status === 409) return holder !== null && state.holder === holder.lease ? byFence(state, holder.fence) : null;
  if (status !== 410) return null;
  const over = gone(state, op);
  return over && !howEnded(over, lease) ? { ...over, ended: { ...over.ended, [lease]: 'over' } } : over;
}

// The answer says that the lease is no longer, or never was.
function gone(state, op) {
  const { lease } = op.input;
  if (state.holder !== lease) return state;
  return mayHaveRunOut(state, op) ? ending(state, lease, 'expired') : null;
}

function renew(state, op) {
  const { lease, ttl } = op.input;
  if (op.output.status !== 200) return gone(state, op);
  const held = state.holder === lease ? byFence(state, op.output.fence) : null;
  return held && { ...held, until: Math.max(held.until, op.invoke + ttl) };
}

function release(state, op) {
  const { lease } = op.input;
  if (op.output.status !== 204) return gone(state, op);
  if (state.holder === lease) return ending(state, lease, 'released');
  return howEnded(state, lease) === 'expired' ? null : state;
}

function silent(state, op) {
  const { lease } = op.input;
  if (op.f === 'acquire') return state.holder === lease ? null : grant(state, op, null);
  // A renewal that nobody knows of binds nobody.
  return op.f === 'release' && state.holder === lease ? ending(state, lease, 'released') : null;
}

const answered = { acquire, renew, release };

// An answer of 410 to one that waited tells of two moments: who stands in line with a member that falls silent stands there
// again with the next, may be granted there, and has run out when the silent one is back and answers. So beside the
// operation that found its lease over there may have been one that acquired it, before.
export function inTwoMoments(ops) {
  const grantedBefore = ({ f, input, output }) => f === 'acquire' && input.wait > 0 && output?.status === 410;
  return ops.flatMap((op) => (grantedBefore(op) ? [op, { ...op, ret: Infinity, outcome: 'unknown', output: null }] : [op]));
}

export const lockModel = {
  initial: { ...none, fence: 0, ended: {} },
  apply: (state, op) => (op.outcome === 'ok' ? answered[op.f](state, op) : silent(state, op)),
  key: (state) => `${state.holder} ${state.fence} ${state.told} ${state.until} ${Object.entries(state.ended).sort()}`,
};
