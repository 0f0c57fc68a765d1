// Names that no other test uses, nor an earlier run on the same server, so that tests need not tidy up.
import { randomBytes } from 'node:crypto';

const run = randomBytes(4).toString('hex');
let count = 0;

/** A fresh routing key. */
export function key(word) {
  count += 1;
  return `${word}-${run}-${count}`;
}
