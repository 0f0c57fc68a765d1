// How long a cluster of three is without one of its members: clients write through the two others, the third is killed
// or stopped, and then comes back; so many times. The whole cluster shares this machine with its clients.
//
//     RINGHOLD=build/ringhold node tests/members/failover.mjs [--rounds 30] [--signal SIGKILL] [--clients 16] [--partitions 16]
//
// For each round: how long it took, by the members' own logs, until the last of the partitions had another leader; the
// longest that a client waited for an answer, and the longest time in which nobody's write was acknowledged, both with
// whatever the clients' own process adds; and every answer that was not a success.
import { parseArgs } from 'node:util';
import { Cluster, pause } from './members.mjs';
import { writers } from './load.mjs';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    signal: { type: 'string', default: 'SIGKILL' },
    clients: { type: 'string', default: '16' },
    partitions: { type: 'string', default: '16' },
  },
});
const rounds = Number(values.rounds);
const cluster = new Cluster({ partitions: Number(values.partitions) });

function row(name, numbers) {
  const sorted = [...numbers].sort((x, y) => x - y);
  const at = (share) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
  return `${name}: median ${at(0.5)} ms, 90% ${at(0.9)} ms, longest ${at(1)} ms`;
}

// Until the others call the one that is missing down, and begin to share out anew what it led.
const ELECTIONS_MS = 2500;

function lastLed(members, since) {
  const lines = members.flatMap((m) => m.log.split('\n')).filter((line) => line.includes('"event":"leads"'));
  const after = lines.map((line) => Date.parse(JSON.parse(line).time) - since);
  return Math.max(0, ...after.filter((ms) => ms < ELECTIONS_MS));
}

async function round(number) {
  const victim = cluster.members[number % 3];
  const load = writers(cluster.members.filter((m) => m !== victim), Number(values.clients));
  await pause(1000);
  load.mark();
  const since = Date.now();
  victim.kill(values.signal);
  await pause(4000);
  await load.end();
  await victim.exited;
  const led = lastLed(cluster.members.filter((m) => m !== victim), since);
  await cluster.again(victim);
  await cluster.placed();
  const others = [...load.refused].map(([code, count]) => `${code} ${count}`).join(', ');
  console.log(`${number + 1}: ${victim.name}, led ${led} ms, wait ${Math.round(load.longestWait())} ms, gap ` +
    `${Math.round(load.longestGap())} ms${others === '' ? '' : `, ${others}`}`);
  return { led, wait: load.longestWait(), gap: load.longestGap() };
}

try {
  await cluster.found('n1');
  await cluster.join('n2');
  await cluster.join('n3');
  await cluster.placed();
  const seen = [];
  for (let number = 0; number < rounds; number++) seen.push(await round(number));
  console.log(row('until all is led again', seen.map((s) => s.led)));
  console.log(row('longest wait of a client', seen.map((s) => s.wait)));
  console.log(row('without an acknowledged write', seen.map((s) => s.gap)));
} finally {
  await cluster.stop();
}
