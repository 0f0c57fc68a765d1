// Who began to lead, and when, as the members' logs have it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beganToLead, judge } from './leaders.mjs';

const line = (time, event, partition) => `{"time":"${time}","level":"info","event":"${event}","partition":${partition}}\n`;
const at = (seconds) => `2026-01-01T00:00:${seconds}.500Z`;

test('leads that began are told, and nothing else', () => {
  const members = [
    { name: 'n1', log: `{"time":"cut off${line(at(10), 'leads', 1)}${line(at(20), 'leads', 2)}${line(at(21), 'leads-no-more', 2)}` },
    { name: 'n2', log: line(at(22), 'leads', 2) + '{"time":"' },
  ];
  const both = [`n1 began to lead partition 2 at ${at(20)}`, `n2 began to lead partition 2 at ${at(22)}`];
  assert.deepEqual(beganToLead(members), both);
  members[0].log += line(at(12), 'leads', 3); // a clock that was set back
  assert.deepEqual(beganToLead(members).filter((lead) => !both.includes(lead)), [`n1 began to lead partition 3 at ${at(12)}`]);
});

test('leads that moved are wrong, unless processes had to wait', () => {
  assert.deepEqual(judge(['one'], 199), ['one']);
  assert.deepEqual(judge(['one'], 200), []);
  assert.deepEqual(judge([], 0), []);
});
