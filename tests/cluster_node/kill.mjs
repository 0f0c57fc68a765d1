// Kills nodes while they commit, and looks afterwards: what was acknowledged is in every state once, and the states are
// the same, line by line.
//
//     node tests/cluster_node/kill.mjs build/cluster-node [--groups 4] [--rounds 6] [--seed 1]
import {spawn} from "node:child_process";
import {mkdtempSync, mkdirSync, readFileSync, rmSync} from "node:fs";
import {createServer} from "node:net";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {setTimeout as sleep} from "node:timers/promises";

const NODES = 3;
const program = process.argv[2];
const option = (name, value) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? value : Number(process.argv[at + 1]);
};
const groups = option("groups", 4), rounds = option("rounds", 6);
let seed = option("seed", Date.now() % 100000);
console.log(`kill: ${NODES} nodes, ${groups} groups, ${rounds} rounds, seed ${seed}`);

function random(below) {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor((seed / 2147483648) * below);
}

const bind = (port) => new Promise((good, bad) => {
    const server = createServer();
    server.once("error", bad);
    server.listen(port, "127.0.0.1", () => good(server));
});

// The first of so many ports in a row that are free.
async function freePorts(count) {
    for (;;) {
        const servers = [];
        try {
            servers.push(await bind(0));
            const first = servers[0].address().port;
            for (let i = 1; i < count; i++) servers.push(await bind(first + i));
            return first;
        } catch {
            // others next time
        } finally {
            await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
        }
    }
}

const dir = mkdtempSync(join(tmpdir(), "ringhold-kill-"));
const port = await freePorts(NODES);
const nodes = [];
const leads = new Map(); // of each group: the node, and since when
const gaps = [];

const now = () => Number(process.hrtime.bigint() / 1000000n);

function heard(node, line) {
    const [what, group, , at] = line.split(" ");
    if (what !== "leads") throw new Error(`node ${node.id}: ${line}`);
    const last = leads.get(group);
    if (last?.killed) gaps.push(Number(at) - last.killed);
    leads.set(group, {node: node.id});
}

function start(id, ...more) {
    const node = nodes[id] = {id, buffer: ""};
    node.child = spawn(program, [id, NODES, port, groups, join(dir, `${id}`), ...more],
        {stdio: ["ignore", "pipe", "pipe"]});
    node.gone = new Promise((done) => node.child.once("exit", done));
    node.child.stderr.on("data", (data) => { node.stderr = `${node.stderr ?? ""}${data}`.slice(-2000); });
    node.child.stdout.on("data", (data) => {
        const lines = (node.buffer + data).split("\n");
        node.buffer = lines.pop();
        lines.forEach((line) => heard(node, line));
    });
}

async function kill(id) {
    if (nodes[id].child.exitCode !== null || nodes[id].child.signalCode !== null) {
        throw new Error(`node ${id} had ended by itself: ${nodes[id].stderr}`);
    }
    nodes[id].child.kill("SIGKILL");
    await nodes[id].gone;
    for (const last of leads.values()) if (last.node === id) last.killed = now();
}

const state = (id, group) => readFileSync(join(dir, `${id}`, `state-${group}`), "utf8");

// The three states of a group are one.
const agree = (group) => state(1, group) === state(2, group) && state(2, group) === state(3, group);

function check() {
    let acked = 0;
    for (let group = 0; group < groups; group++) {
        const entries = state(1, group).trim().split("\n").map((line) => line.split(" ")[2]);
        const once = new Set(entries);
        if (once.size !== entries.length) throw new Error(`group ${group}: an entry was applied twice`);
        for (let id = 1; id <= NODES; id++) {
            for (const line of readFileSync(join(dir, `${id}`, "acked"), "utf8").trim().split("\n")) {
                const [of, entry] = line.split(" ");
                if (of === `${group}` && !once.has(entry)) throw new Error(`group ${group} has lost ${entry}`);
                acked += of === `${group}`;
            }
        }
    }
    return acked;
}

for (let id = 1; id <= NODES; id++) mkdirSync(join(dir, `${id}`));
let failed = false;
try {
    for (let id = 1; id <= NODES; id++) start(id);
    for (let round = 0; round < rounds; round++) {
        await sleep(800 + random(1200));
        const id = 1 + random(NODES);
        await kill(id);
        await sleep(random(2500));
        start(id);
    }
    await sleep(1500);
    for (let id = 1; id <= NODES; id++) await kill(id);
    for (let id = 1; id <= NODES; id++) start(id, "idle");
    const until = now() + 60000;
    for (let group = 0; group < groups; group++) {
        while (!agree(group)) {
            if (now() > until) throw new Error(`group ${group}: the states do not become the same`);
            await sleep(50);
        }
    }
    for (let id = 1; id <= NODES; id++) nodes[id].child.kill("SIGTERM");
    await Promise.all(nodes.slice(1).map((node) => node.gone));
    gaps.sort((a, b) => a - b);
    console.log(`kill: passed; ${check()} acknowledged, ${gaps.length} leaders replaced, in ` +
        `${gaps[Math.floor(gaps.length / 2)]} ms (median), ${gaps.at(-1)} ms (longest)`);
} catch (error) {
    failed = true;
    console.error(`kill: ${error.message}; ${dir} is kept`);
} finally {
    for (const node of nodes.slice(1)) node?.child.kill("SIGKILL");
    if (!failed) rmSync(dir, {recursive: true});
}
process.exit(failed ? 1 : 0);
