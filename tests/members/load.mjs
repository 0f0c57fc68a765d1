// Clients that write through members of a cluster, counting up in keys of their own, until they are told to end.

export function writers(members, clients = 16) {
  const acked = new Map();
  const refused = new Map(); // by problem code: how often
  const waits = []; // of requests that were answered after mark(), in ms
  const acks = []; // when, since mark(); 0 first
  let over = false;
  let marked = Infinity;
  const note = (begun, good) => {
    const now = performance.now();
    if (now < marked) return;
    waits.push(now - begun);
    if (good) acks.push(now - marked);
  };
  const write = async (id) => {
    for (let n = 0; !over; n++) {
      const key = `w-${id}-${n % 10}`;
      const member = members[(id + n) % members.length];
      const begun = performance.now();
      const answer = await member.ask('PUT', `/v1/sessions/${key}`, { data: { n } }).catch(() => null);
      const good = answer !== null && answer.status < 300;
      const code = answer?.body?.code ?? 'no answer';
      if (good) acked.set(key, n);
      else refused.set(code, (refused.get(code) ?? 0) + 1);
      note(begun, good);
    }
  };
  const all = Promise.all([...Array(clients).keys()].map(write));
  return {
    acked,
    refused,
    mark: () => { marked = performance.now(); acks.push(0); },
    longestWait: () => Math.max(0, ...waits),
    longestGap: () => Math.max(0, ...acks.slice(1).map((at, i) => at - acks[i])),
    end: async () => {
      over = true;
      await all;
    },
  };
}
