// Where the members run, and what can be done to that place.
//
// In namespaces: each member has a network of its own, with one link to a router, which is where the test and its clients
// are. What the router drops between two members, and in which direction, is a rule of its routing. Disks that can be
// filled are small tmpfs. On loopback, where namespaces are not to be had, there is neither.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../members/members.mjs';

const HTTP_PORT = 7480;
const PEER_PORT = 7490;
const SMALL_DISK = '160m';
const SLOW_RATE = '4mbit';
const SLOW_MS = 60;

function run(...command) {
  const { status, stderr, error } = spawnSync(command[0], command.slice(1), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command.join(' ')}: ${error ?? stderr}`);
}

const works = (...command) => spawnSync(command[0], command.slice(1)).status === 0;

// A wall clock that is moved while a process runs: libfaketime, told by a file. The monotonic clock stays.
class WallClocks {
  constructor(dir) {
    this.dir = dir;
    const roots = readdirSync('/usr/lib').map((arch) => `/usr/lib/${arch}/faketime/libfaketimeMT.so.1`);
    this.library = roots.find((path) => existsSync(path));
  }

  #file(name) {
    return join(this.dir, `clock-${name}`);
  }

  under(name) {
    this.set(name, 0);
    const settings = ['FAKETIME_CACHE_DURATION=1', 'FAKETIME_DONT_RESET=1', 'DONT_FAKE_MONOTONIC=1'];
    return ['env', `LD_PRELOAD=${this.library}`, `FAKETIME_TIMESTAMP_FILE=${this.#file(name)}`, ...settings];
  }

  set(name, seconds) {
    writeFileSync(this.#file(name), `${seconds < 0 ? '' : '+'}${seconds}\n`);
  }
}

class World {
  constructor(dir) {
    this.clocks = new WallClocks(dir);
    this.has = this.clocks.library ? ['clock'] : [];
    this.missing = this.clocks.library ? [] : ['no libfaketime: no jumps of the clock'];
  }
}

export class Loopback extends World {
  constructor(dir) {
    super(dir);
    this.missing.push('no namespaces: no partitions, no slow links, no full disks');
  }

  async place() {
    return { listen: `127.0.0.1:${await freePort()}`, peer: `127.0.0.1:${await freePort()}`, under: [] };
  }

  heal() {}
  dismantle() {}
}

export class Namespaces extends World {
  constructor(dir) {
    super(dir);
    this.has.push('network', 'mounts');
    this.count = 0;
    this.numbers = new Map();
    this.rules = [];
  }

  place(name) {
    const n = ++this.count;
    const [space, link, net] = [`m${n}`, `v${n}`, `10.77.${n}`];
    this.numbers.set(name, n);
    run('ip', 'netns', 'add', space);
    run('ip', 'link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space);
    run('ip', 'address', 'add', `${net}.254/24`, 'dev', link);
    run('ip', 'link', 'set', link, 'up');
    run('ip', '-n', space, 'link', 'set', 'lo', 'up');
    run('ip', '-n', space, 'address', 'add', `${net}.1/24`, 'dev', 'eth0');
    run('ip', '-n', space, 'link', 'set', 'eth0', 'up');
    run('ip', '-n', space, 'route', 'add', 'default', 'via', `${net}.254`);
    const under = ['nsenter', `--net=/run/netns/${space}`];
    return { listen: `${net}.1:${HTTP_PORT}`, peer: `${net}.1:${PEER_PORT}`, under };
  }

  // Nothing comes from `from` to `to` any more.
  cut(from, to) {
    const [a, b] = [this.numbers.get(from), this.numbers.get(to)];
    const rule = ['from', `10.77.${a}.1`, 'to', `10.77.${b}.1`, 'blackhole'];
    run('ip', 'rule', 'add', 'pref', '100', ...rule);
    this.rules.push(rule);
  }

  // All links are whole and fast again.
  heal() {
    for (const rule of this.rules.splice(0)) run('ip', 'rule', 'del', 'pref', '100', ...rule);
    for (const undo of this.slowed?.splice(0) ?? []) run(...undo);
  }

  // Everything to and from it, clients too, takes its time: by a delay where this kernel can (netem), else by a link of
  // little capacity.
  slow(name) {
    const n = this.numbers.get(name);
    this.slowed = [];
    for (const [where, device] of [[['-n', `m${n}`], 'eth0'], [[], `v${n}`]]) {
      const queue = ['tc', ...where, 'qdisc', 'add', 'dev', device, 'root'];
      const delayed = works(...queue, 'netem', 'delay', `${SLOW_MS}ms`, `${SLOW_MS / 4}ms`);
      if (!delayed) run(...queue, 'tbf', 'rate', SLOW_RATE, 'burst', '8kb', 'latency', '400ms');
      this.slowBy = delayed ? `netem, ${SLOW_MS} ms` : `tbf, ${SLOW_RATE}: this kernel has no netem`;
      this.slowed.push(['tc', ...where, 'qdisc', 'del', 'dev', device, 'root']);
    }
  }

  // The directory becomes a disk of its own, and small.
  small(directory) {
    mkdirSync(directory, { recursive: true });
    run('mount', '-t', 'tmpfs', '-o', `size=${SMALL_DISK}`, 'tmpfs', directory);
  }

  // Resolves when nothing more goes in. In a process of its own: this one has clients to run.
  async fill(directory) {
    const filler = openSync(join(directory, 'filler'), 'w');
    const child = spawn('cat', ['/dev/zero'], { stdio: ['ignore', filler, 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
    closeSync(filler);
    let why = '';
    child.stderr.on('data', (chunk) => (why += chunk));
    await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
    if (!why.includes('No space left on device')) throw new Error(`the disk of ${directory} is not full: ${why}`);
  }

  free(directory) {
    rmSync(join(directory, 'filler'), { force: true });
  }

  // Members have ended: their networks and disks go.
  dismantle(directories) {
    this.heal();
    for (const n of this.numbers.values()) works('ip', 'netns', 'delete', `m${n}`);
    for (const directory of directories) works('umount', directory);
  }
}

export const makeWorld = (dir) => (process.env.CHAOS_PLACE === 'namespaces' ? new Namespaces(dir) : new Loopback(dir));
