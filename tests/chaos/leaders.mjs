// Who begins to lead, by the members' own logs: where nothing is wrong nobody does.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { pause } from './client.mjs';

const RESTS_MS = 6000; // a lead that could not be handed over is offered again within less
const REST_MS_MAX = 60000;
const ELECTION_MS = 400; // db/limits.h
const LEADS = /^{"time":"(\d[^"]*Z)".*"event":"leads","partition":(\d+)/;

// What the logs of members, { name, log } each, say of leads that began: a line for each. Their times are the members', whose
// clocks may have been set; what is new is what was not there before.
export function beganToLead(members) {
  return members.flatMap(({ name, log }) =>
    log
      .split('\n')
      .map((line) => LEADS.exec(line))
      .filter((found) => found)
      .map(([, time, partition]) => `${name} began to lead partition ${partition} at ${time}`),
  );
}

// What is wrong with leads that moved while nothing was wrong with any member: all of it, unless the machine kept this
// process waiting for as long as half of what a silent leader is given. Then it may have kept a leader waiting too, and
// nothing can be said.
export function judge(moved, stalledMs) {
  return stalledMs < ELECTION_MS / 2 ? moved : [];
}

export class Leaders {
  constructor(cluster, say) {
    Object.assign(this, { cluster, say, before: new Set(), rested: false, stalls: monitorEventLoopDelay({ resolution: 10 }) });
  }

  // Until nobody has begun to lead for a while; from then on nobody is to.
  async rest() {
    const end = performance.now() + REST_MS_MAX;
    let since = performance.now();
    this.before = new Set(beganToLead(this.cluster.members));
    this.stalls.enable();
    do {
      await pause(RESTS_MS / 6);
      const now = new Set(beganToLead(this.cluster.members));
      if (now.size !== this.before.size) since = performance.now();
      this.before = now;
    } while (performance.now() - since < RESTS_MS && performance.now() < end);
    this.rested = performance.now() - since >= RESTS_MS;
    this.stalls.reset();
  }

  // What is wrong with who has begun all the same.
  moved() {
    const moved = beganToLead(this.cluster.members).filter((lead) => !this.before.has(lead));
    const stalledMs = Math.round(this.stalls.max / 1e6);
    const wrong = judge(moved, stalledMs);
    this.stalls.disable();
    if (!this.rested) this.say(`  leads had not come to rest within ${REST_MS_MAX / 1000} s`);
    if (wrong.length < moved.length) {
      this.say(`  ${moved.length} leads moved without a fault; but this machine kept processes waiting, for ${stalledMs} ms at most`);
    }
    return wrong;
  }
}
