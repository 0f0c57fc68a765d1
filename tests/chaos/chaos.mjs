// chaos.mjs [--seed S] [--sizes 3,5] [--rounds N] [--short | --kinds kill,isolate] [--seconds N] [--figures] [--keep]:
// clusters of real members under faults, with clients whose histories are judged. The seed repeats what is done to which
// member, not the timing; after so many seconds no further fault begins. What a run leaves is kept when it has failed, or
// is to be. RINGHOLD names the binary; tests/chaos/enter.sh makes the place to run in.
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { figures } from './figures.mjs';
import { Run } from './run.mjs';
import { ALL, pickSeed, SHORT } from './schedule.mjs';

const SHOWN = 8;
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '' },
    sizes: { type: 'string', default: '3,5' },
    rounds: { type: 'string', default: '2' },
    kinds: { type: 'string', default: '' },
    short: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '900' },
    figures: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});
const seed = values.seed === '' ? pickSeed() : Number(values.seed);
const sizes = values.sizes.split(',').map(Number);
const rounds = Number(values.rounds);
const named = values.kinds === '' ? ALL : values.kinds.split(',');
const kinds = values.short ? SHORT : named;
const strange = named.find((kind) => !ALL.includes(kind));
if (strange) throw new Error(`no such fault: ${strange}; there are ${ALL.join(', ')}`);
const say = (line) => console.log(line);

let current = null;

async function leave(code) {
  await current?.clean();
  process.exit(code);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => leave(130));

async function one(size, report) {
  const run = new Run({ seed, size, rounds, kinds, seconds: Number(values.seconds), say });
  current = run;
  let kept = false;
  try {
    say(`chaos: ${size} members, seed ${seed}, ${run.steps.length} faults; load average ${loadavg()[0].toFixed(1)}`);
    let well = false;
    try {
      well = await run.go();
    } catch (error) {
      run.wrong.push(`it broke off: ${error.stack}`);
    }
    report.push(...run.report);
    if (run.world.slowBy) say(`  slow links by ${run.world.slowBy}`);
    if (!well) {
      console.error(run.wrong.slice(0, SHOWN).join('\n\n'));
      console.error(`chaos: FAILED, ${run.wrong.length} wrong`);
    }
    kept = !well || values.keep;
    if (kept) say(`  the history, the faults' times and the members' logs are in ${run.keep()}`);
    return well;
  } finally {
    await run.clean({ kept });
    current = null;
  }
}

const report = [];
let well = true;
const { CHAOS_PLACE: place = 'loopback' } = process.env;
say(place === 'namespaces'
  ? 'chaos: in namespaces of its own: partitions, slow links and full disks included'
  : 'chaos: on loopback: namespaces cannot be made here, so NO partitions, slow links or full disks');
const begun = performance.now();
for (const size of sizes) {
  if (well) well = await one(size, report);
}
if (values.figures) say(figures(report));
const seconds = Math.round((performance.now() - begun) / 1000);
say(`chaos: ${well ? 'passed' : 'FAILED'}, ${report.length} faults in ${seconds} s, seed ${seed}`);
process.exit(well ? 0 : 1);
