// Reads that may be old, each with how old at most: what it saw was there at some time, and was not overwritten longer ago
// than that by a write that had been acknowledged by then. `age` null: nobody could say how old.
import { show } from './history.mjs';
import { canonical } from './session_model.mjs';

const shown = (op, why) => `${op.key}: ${why}\n    ${show(op)}`;

// What is known of each version: by whom it was written, and with what data.
function versionsOf(ops) {
  const versions = new Map();
  for (const op of ops) {
    const { version, data } = op.output ?? {};
    if (op.outcome === 'ok' && op.f !== 'stale' && data !== undefined) {
      const known = versions.get(version) ?? { data: canonical(data), since: op.invoke, until: Infinity };
      const wrote = op.f !== 'read';
      // A read knows of it, too, before the one who wrote it may have been told.
      versions.set(version, { ...known, ...(wrote && { since: op.invoke }), until: Math.min(known.until, op.ret), wrote: known.wrote || wrote });
    }
  }
  return versions;
}

export function checkStale(key, ops) {
  const versions = versionsOf(ops);
  const newest = [...versions].map(([version, { until }]) => ({ version, until })).sort((a, b) => a.until - b.until);
  const silent = ops.filter((op) => op.outcome !== 'ok' && op.f !== 'read' && op.f !== 'stale');
  const wrong = [];
  for (const op of ops.filter(({ f, outcome }) => f === 'stale' && outcome === 'ok')) {
    const { status, data, age } = op.output;
    const version = status === 404 ? 0 : op.output.version;
    const known = versions.get(version);
    if (version > 0 && known && known.data !== canonical(data)) wrong.push(shown(op, `version ${version} had ${known.data}`));
    if (version > 0 && known?.wrote && known.since > op.ret) wrong.push(shown(op, `version ${version} was not written yet`));
    if (version > 0 && !known && !silent.some(({ invoke }) => invoke <= op.ret)) wrong.push(shown(op, 'nobody wrote that'));
    if (age === null) continue;
    const later = newest.find((other) => other.version > version && other.until < op.invoke - age);
    if (later) wrong.push(shown(op, `version ${later.version} was known ${(op.invoke - later.until).toFixed(1)} ms before, it says ${age}`));
  }
  return wrong;
}
