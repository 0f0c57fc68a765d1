// How long a cluster of three is without one of its members: clients write through the two others, the third is killed
// or stopped, and then comes back; so many times. The whole cluster shares this machine with its clients.
//
//     RINGHOLD=build/ringhold node tests/members/failover.mjs [--rounds 30] [--signal SIGKILL] [--clients 16] [--partitions 16]
//
// For each round: the longest that a client waited for an answer, the longest time in which nobody's write was
// acknowledged, and every answer that was not a success.
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

async function round(number) {
  const victim = cluster.members[number % 3];
  const load = writers(cluster.members.filter((m) => m !== victim), Number(values.clients));
  await pause(1000);
  load.mark();
  victim.kill(values.signal);
  await pause(4000);
  await load.end();
  await victim.exited;
  await cluster.again(victim);
  await cluster.placed();
  const others = [...load.refused].map(([code, count]) => `${code} ${count}`).join(', ');
  console.log(`${number + 1}: ${victim.name}, wait ${Math.round(load.longestWait())} ms, gap ` +
    `${Math.round(load.longestGap())} ms${others === '' ? '' : `, ${others}`}`);
  return { wait: load.longestWait(), gap: load.longestGap() };
}

try {
  await cluster.found('n1');
  await cluster.join('n2');
  await cluster.join('n3');
  await cluster.placed();
  const seen = [];
  for (let number = 0; number < rounds; number++) seen.push(await round(number));
  console.log(row('longest wait of a client', seen.map((s) => s.wait)));
  console.log(row('without an acknowledged write', seen.map((s) => s.gap)));
} finally {
  await cluster.stop();
}
