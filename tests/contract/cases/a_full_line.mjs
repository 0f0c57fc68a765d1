// Comes first, by its name: ten thousand waiters are quick to line up only while nobody else waits, because then the
// search for deadlocks has nothing to look at.
import { same } from '../api.mjs';
import { key } from '../names.mjs';
import { ASYNC, acquire, line } from './locks.mjs';

const WAITERS_MAX = 10000;
const LANES = 32;

export default function fullLine(t) {
  t('a line that is full takes nobody else', async (api) => {
    const name = key('lock');
    await acquire(api, name, { ttl_ms: 600000 });
    const lane = async (first, step) => {
      for (let i = first; i < WAITERS_MAX; i += step) await line(api, name, { owner: name });
    };
    await Promise.all(Array.from({ length: LANES }, (_, first) => lane(first, LANES)));
    await acquire(api, name, { wait_ms: 60000 }, { headers: ASYNC, expect: '429 too-many-waiters' });
    const call = { path: { name }, body: { owner: 'w', wait_ms: 60000 }, headers: ASYNC };
    await api.call('createLease', { ...call, expect: '429 too-many-waiters' });
    const set = {
      path: { lease: key('set') },
      body: { owner: 'w', wait_ms: 60000, locks: [{ name }] },
      headers: ASYNC,
    };
    await api.call('putLockSet', { ...set, expect: '429 too-many-waiters' });
    const { body } = await api.call('getLock', { path: { name }, expect: 200 });
    same([body.waiter_count, body.waiters.length], [WAITERS_MAX, 100], 'the line');
  });
}
