// The contract test: drives a running server through every operation of openapi.yaml, valid and invalid, and holds each
// answer against it. Ends with `N passed, N failed`, and exit code 1 if one failed.
//
//   node tests/contract/run.mjs [--server build/ringhold | --url http://127.0.0.1:7480] [--only WORDS] [--verbose]
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Api, check, same } from './api.mjs';
import { closeConnections } from './client.mjs';
import { Contract } from './contract.mjs';
import { exampleCases } from './examples.mjs';
import { startServer } from './server.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CASE_MS = 90000;

const { values: options } = parseArgs({
  options: {
    server: { type: 'string', default: `${ROOT}build/ringhold` },
    url: { type: 'string' },
    only: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
});

async function collect(contract) {
  const cases = [];
  const t = (name, run) => cases.push({ name, run });
  exampleCases(t, contract);
  const folder = new URL('cases/', import.meta.url);
  for (const file of readdirSync(folder)
    .filter((name) => name.endsWith('.mjs'))
    .sort()) {
    const { default: fill } = await import(new URL(file, folder));
    fill(t, contract);
  }
  coverageCases(t, contract);
  return options.only ? cases.filter((one) => one.name.includes(options.only)) : cases;
}

/* What only a queue over several partitions is answered: tests/members/shards.test.mjs has these. */
const IN_A_CLUSTER = new Set(['putQueue 409', 'patchQueue 409', 'deleteQueue 422']);

/* What a test cannot bring about at will: 503 needs a machine in trouble, 307 a second instance (tests/members), and
   idempotency-in-flight a request that is still running; where an operation can wait, a case of its own sees to that one. */
function atWill(operation, status) {
  if (IN_A_CLUSTER.has(`${operation.operationId} ${status}`)) return false;
  const schema = operation.responses[status].content?.['application/problem+json']?.schema;
  const only = JSON.stringify(schema?.allOf?.[1]?.properties.code.enum);
  return !['307', '503', 'default'].includes(status) && only !== '["idempotency-in-flight"]';
}

/** After all others: was every operation seen to succeed and to fail, and every documented status seen? */
function coverageCases(t, contract) {
  for (const operation of contract.operations.values()) {
    const id = operation.operationId;
    t(`coverage: ${id} was seen to succeed and to fail`, (api) => {
      const seen = [...(api.seen.get(id) ?? [])];
      check(
        seen.some((status) => status < 400),
        `${id} never succeeded; seen: ${seen.join(', ') || 'nothing'}`,
      );
      check(
        seen.some((status) => status >= 400),
        `${id} never failed; seen: ${seen.join(', ')}`,
      );
    });
    t(`coverage: ${id} gave every answer that openapi.yaml documents`, (api) => {
      const unseen = Object.keys(operation.responses).filter(
        (status) => atWill(operation, status) && !api.seen.get(id)?.has(Number(status)),
      );
      check(unseen.length === 0, `${id} never answered ${unseen.join(', ')}`);
    });
  }
  t('coverage: every problem that came back is what its page explains', async (api) => {
    for (const problem of [...api.problems.values()]) {
      const { body } = await api.call('explainProblem', { path: { code: problem.code }, expect: 200 });
      const { code, status, title, retryable } = problem;
      same({ code, status, title, retryable }, { ...body, description: undefined }, `the page of ${code}`);
    }
  });
}

function withDeadline(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${CASE_MS} ms`)), CASE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function runAll(cases, api) {
  let failed = 0;
  for (const { name, run } of cases) {
    const begun = Date.now();
    try {
      await withDeadline(Promise.resolve(run(api)));
      if (options.verbose) console.log(`  ok    ${name} (${Date.now() - begun} ms)`);
    } catch (error) {
      failed += 1;
      console.log(
        `  FAIL  ${name}\n      ${error.constructor.name === 'Failure' ? error.message : error.stack}`,
      );
    }
  }
  return { passed: cases.length - failed, failed };
}

async function main() {
  const contract = new Contract(`${ROOT}openapi.yaml`);
  const cases = await collect(contract);
  const server = options.url ? undefined : await startServer(options.server);
  const api = new Api(contract, options.url ?? server.base);
  const begun = Date.now();
  const { passed, failed } = await runAll(cases, api);
  closeConnections();
  const end = await server?.stop();
  if (end && (end.code !== 0 || failed > 0))
    console.log(`the server's last log lines:\n${server.log().slice(-3000)}`);
  const seconds = ((Date.now() - begun) / 1000).toFixed(1);
  const broken = end && end.code !== 0 ? 1 : 0;
  if (broken) console.log(`  FAIL  the server ends with exit code 0 (${end.signal ?? end.code})`);
  console.log(`contract: ${contract.operations.size} operations, ${api.calls} requests, ${seconds} s`);
  console.log(`${passed} passed, ${failed + broken} failed`);
  return failed + broken === 0 ? 0 : 1;
}

process.exitCode = await main();
