// Every check there is, over a whole history: sentences on what is wrong, none if all is well.
import { byKey, show } from './history.mjs';
import { checkHolds } from './holds.mjs';
import { linearizable } from './linear.mjs';
import { inTwoMoments, lockModel } from './lock_model.mjs';
import { checkQueue } from './queues.mjs';
import { sessionModel } from './session_model.mjs';
import { checkStale } from './stale.mjs';

const SHOWN = 12;

function checkOrder(key, ops, model) {
  const result = linearizable(model, ops);
  if (result.ok) return [];
  const near = ops.filter((op) => op.invoke <= result.at.ret && op.ret >= result.at.invoke - 50);
  const shown = near.sort((a, b) => a.invoke - b.invoke).slice(-SHOWN).map((op) => `    ${show(op)}`);
  const where = `  no place for: ${show(result.at)}\n  state reached: ${JSON.stringify(result.state)}`;
  return [`${key} is not linearizable: ${result.why}\n${where}\n  around it:\n${shown.join('\n')}`];
}

export function checkAll(ops) {
  const wrong = [];
  for (const [key, some] of byKey(ops)) {
    if (key.startsWith('session ')) {
      wrong.push(...checkOrder(key, some.filter(({ f }) => f !== 'stale'), sessionModel), ...checkStale(key, some));
    } else if (key.startsWith('lock ')) wrong.push(...checkHolds(key, some), ...checkOrder(key, inTwoMoments(some), lockModel));
    else if (key.startsWith('queue ')) wrong.push(...checkQueue(key, some));
    else throw new Error(`what is ${key}?`);
  }
  return wrong;
}
