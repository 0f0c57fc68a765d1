// A session as the checker sees it: a version that grows with every write, and data. Writes are PUT (of everything, made
// or replaced), PUT with If-None-Match: *, PUT with If-Match, PATCH (a merge, whose answer shows what it was merged
// into), and a strong read.
//
// An unknown write that took effect has made a version that nobody was told: `version` is null then and above `floor`,
// until an answer tells it.

// Members in the order of their names, so that equal data are equal texts.
export const canonical = (data) => JSON.stringify(Object.fromEntries(Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1))));

const lowest = (state) => state.version ?? state.floor + 1;
const exists = (state) => state.version !== 0;

// The state, if it can be at that version.
function at(state, version) {
  if (state.version === version) return state;
  if (state.version === null && version > state.floor) return { ...state, version };
  return null;
}

// The state in which the write's condition holds, or null.
function meets(state, { f, input }) {
  if (f === 'create') return exists(state) ? null : state;
  if (f === 'cas') return exists(state) ? at(state, input.version) : null;
  if (f === 'patch') return exists(state) ? state : null;
  return state;
}

function written(state, { f, input }) {
  return f === 'patch' ? canonical({ ...JSON.parse(state.data), ...input.data }) : canonical(input.data);
}

function acknowledged(state, op) {
  const { status, version, data } = op.output;
  const before = meets(state, op);
  if (before === null || version <= lowest(before)) return null;
  if ((status === 201) === exists(before)) return null;
  const text = written(before, op);
  return canonical(data) === text ? { version, floor: 0, data: text } : null;
}

// 412 tells which version is there, and the condition must not hold for it.
function mismatched(state, { f, input, output }) {
  const { current } = output;
  if (f === 'cas' ? input.version === current && current > 0 : current === 0) return null;
  return at(state, current);
}

function read(state, { status, version, data }) {
  if (status === 404) return exists(state) ? null : state;
  const there = exists(state) ? at(state, version) : null;
  return there !== null && there.data === canonical(data) ? there : null;
}

function answered(state, op) {
  if (op.f === 'read') return read(state, op.output);
  switch (op.output.status) {
    case 200:
    case 201:
      return acknowledged(state, op);
    case 412:
      return mismatched(state, op);
    case 404:
      return op.f === 'patch' && !exists(state) ? state : null;
    default:
      return null;
  }
}

function silent(state, op) {
  const before = op.f === 'read' ? null : meets(state, op);
  return before === null ? null : { version: null, floor: lowest(before), data: written(before, op) };
}

export const sessionModel = {
  initial: { version: 0, floor: 0, data: '{}' },
  apply: (state, op) => (op.outcome === 'ok' ? answered(state, op) : silent(state, op)),
  key: (state) => `${state.version} ${state.floor} ${state.data}`,
};
