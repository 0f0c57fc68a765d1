// What each kind of fault does, to the cluster and to those that it hits, and how it ends. `run` is { cluster, world,
// ill, leaders, wrong }: the cluster's members by number, the names of those that a load balancer with good health checks
// avoids, who begins to lead, and what is wrong.
const HOUR_S = 3600;

const names = (run, numbers) => numbers.map((n) => run.cluster.members[n].name);
const others = (run, group) => run.cluster.members.map((m) => m.name).filter((name) => !group.includes(name));

function cut(run, { group }, { out = true, back = true, from = others(run, names(run, group)) }) {
  for (const inside of names(run, group)) {
    run.ill.add(inside);
    for (const outside of from) {
      if (out) run.world.cut(inside, outside);
      if (back) run.world.cut(outside, inside);
    }
  }
}

const healed = (run) => run.world.heal();

async function kill(run, n) {
  const member = run.cluster.members[n];
  run.ill.add(member.name);
  member.kill('SIGKILL');
  await member.exited;
}

const again = (run, n) => run.cluster.again(run.cluster.members[n]);
const every = (run, act) => Promise.all(run.cluster.members.map((_, n) => act(run, n)));

function jump(seconds) {
  return {
    begin: (run, { victim }) => run.world.clocks.set(run.cluster.members[victim].name, seconds),
    end: (run, { victim }) => run.world.clocks.set(run.cluster.members[victim].name, 0),
  };
}

export const faults = {
  none: {
    begin: (run) => run.leaders.rest(),
    end: (run) => run.wrong.push(...run.leaders.moved()),
  },
  kill: {
    begin: (run, { victim }) => kill(run, victim),
    end: (run, { victim }) => again(run, victim),
  },
  'kill all': {
    begin: (run) => every(run, kill),
    end: (run) => every(run, again),
  },
  terminate: {
    begin: async (run, { victim }) => {
      const member = run.cluster.members[victim];
      run.ill.add(member.name);
      const { code, signal } = await member.stop();
      if (code !== 0) throw new Error(`${member.name} ended by ${signal ?? code} when it was told to stop\n${member.log}`);
    },
    end: (run, { victim }) => again(run, victim),
  },
  suspend: {
    begin: (run, { victim }) => {
      run.ill.add(run.cluster.members[victim].name);
      run.cluster.members[victim].kill('SIGSTOP');
    },
    end: (run, { victim }) => run.cluster.members[victim].kill('SIGCONT'),
  },
  isolate: { begin: (run, step) => cut(run, step, {}), end: healed },
  halves: { begin: (run, step) => cut(run, step, {}), end: healed },
  'one way out': { begin: (run, step) => cut(run, step, { back: false }), end: healed },
  'one way in': { begin: (run, step) => cut(run, step, { out: false }), end: healed },
  pair: {
    begin: (run, { group: [a, b] }) => cut(run, { group: [a] }, { from: names(run, [b]) }),
    end: healed,
  },
  slow: {
    begin: (run, { victim }) => {
      run.ill.add(run.cluster.members[victim].name);
      run.world.slow(run.cluster.members[victim].name);
    },
    end: healed,
  },
  'full disk': {
    begin: (run, { victim }) => {
      run.ill.add(run.cluster.members[victim].name);
      return run.world.fill(run.cluster.members[victim].data);
    },
    end: (run, { victim }) => run.world.free(run.cluster.members[victim].data),
  },
  'clock ahead': jump(HOUR_S),
  'clock back': jump(-HOUR_S),
  join: {
    begin: (run) => run.cluster.join(run.cluster.nextName()),
    end: () => {},
  },
  // One goes for good, and another comes in its place.
  leave: {
    begin: (run, { victim }) => run.cluster.standIn(victim),
    end: (run, { victim }) => run.cluster.leave(victim),
  },
};
