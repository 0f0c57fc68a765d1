// What clients did and saw: for each operation who, on what, when it was called, when its answer came, and which.
//
// outcome: 'ok'       the answer came: `output` is what of it matters
//          'unknown'  it may take effect at any time after its call, or never; `ret` is Infinity
//          'none'     it surely has no effect: the service said so, or nobody was there to take it
// Times are milliseconds of one monotonic clock.
export const now = () => performance.now();

export class History {
  constructor() {
    this.ops = [];
  }

  begin(client, key, f, input) {
    const op = { client, key, f, input, invoke: now(), ret: Infinity, outcome: 'unknown', output: null };
    this.ops.push(op);
    return op;
  }

  // The answer came.
  end(op, output) {
    Object.assign(op, { ret: now(), outcome: 'ok', output });
  }

  // It surely has no effect.
  refuse(op, why) {
    Object.assign(op, { ret: now(), outcome: 'none', output: why });
  }
}

// The operations that may have had an effect, by key.
export function byKey(ops) {
  const keys = new Map();
  for (const op of ops) {
    if (op.outcome === 'none') continue;
    if (!keys.has(op.key)) keys.set(op.key, []);
    keys.get(op.key).push(op);
  }
  return keys;
}

export function show(op) {
  const end = op.outcome === 'ok' ? op.ret.toFixed(1) : op.outcome;
  const said = op.outcome === 'ok' ? ` -> ${JSON.stringify(op.output)}` : '';
  return `[${op.invoke.toFixed(1)} .. ${end}] ${op.client} ${op.f} ${op.key} ${JSON.stringify(op.input)}${said}`;
}
