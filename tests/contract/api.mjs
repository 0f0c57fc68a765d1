// Calls operations by their operationId and holds each answer against openapi.yaml. What a test expects is written as
// the status, followed by the problem's code where it is one: 201, '409 lock-held'. Several may be given in a list.
import { send, sendRaw } from './client.mjs';
import { violations } from './checker.mjs';

export class Failure extends Error {}

export function check(holds, sentence) {
  if (!holds) throw new Failure(sentence);
}

export function same(got, wanted, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  check(a === b, `${what} should be ${b} and is ${a}`);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function targetOf(operation, path, query) {
  const filled = operation.template.replace(/\{(\w+)\}/g, (_, name) => {
    if (path[name] === undefined)
      throw new Error(`${operation.operationId} needs the path parameter ${name}`);
    return path[name];
  });
  const pairs = Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return pairs.length === 0 ? filled : `${filled}?${pairs.join('&')}`;
}

function describe({ method, target, headers, text }) {
  const shown = Object.entries(headers ?? {})
    .filter(([name]) => name !== 'Content-Type')
    .map(([name, value]) => ` ${name}: ${value}`)
    .join(',');
  const body =
    text === undefined
      ? ''
      : ` ${text.length > 400 ? `${text.slice(0, 400)}… (${text.length} bytes)` : text}`;
  return `${method} ${target.slice(0, 300)}${shown}${body}`;
}

export class Api {
  constructor(contract, base) {
    this.contract = contract;
    this.base = base;
    this.seen = new Map(); // operationId → statuses that came back
    this.problems = new Map(); // code → one problem document that came back
    this.calls = 0;
  }

  /**
   * One call. Options: path, query, headers, body (a value), text (bytes as they are), target (instead of path and
   * query), expect, head (send HEAD), invalid (the body breaks its schema, and the schema must say so).
   */
  async call(
    id,
    { path = {}, query = {}, headers = {}, body, text, target, expect, head = false, invalid } = {},
  ) {
    const operation = this.contract.operation(id);
    if (body !== undefined) {
      this.checkRequest(operation, body, invalid);
      text = JSON.stringify(body);
    }
    const outgoing = {
      method: head ? 'HEAD' : operation.method,
      target: target ?? targetOf(operation, path, query),
      headers: text === undefined ? headers : { 'Content-Type': 'application/json', ...headers },
      text,
    };
    const answer = await send(this.base, outgoing);
    this.judge(operation, answer, expect, describe(outgoing), head);
    return answer;
  }

  /** A request that no client library would send, as an answer to which any operation's `default` may come. */
  async raw(id, bytes, expect) {
    const answer = await sendRaw(this.base, bytes);
    const shown = bytes.toString('latin1');
    this.judge(this.contract.operation(id), answer, expect, JSON.stringify(shown.slice(0, 200)), false);
    return answer;
  }

  /** A method that the path does not take. */
  async wrongMethod(template, method, target) {
    const answer = await send(this.base, { method, target });
    const any = [...this.contract.operations.values()].find((operation) => operation.template === template);
    this.judge(any, answer, '405 method-not-allowed', `${method} ${target}`, false);
    const allowed = (answer.headers.allow ?? '').split(',').map((word) => word.trim());
    const wanted = [...this.contract.methodsOf(target)];
    if (wanted.includes('GET')) wanted.push('HEAD');
    same(allowed.sort(), wanted.sort(), `${method} ${target}: Allow`);
  }

  checkRequest(operation, body, invalid) {
    const schema = this.contract.bodySchema(operation);
    const found = schema ? this.contract.violations(schema, body) : [];
    check(invalid || found.length === 0, `the test's own request is not valid: ${found.join('; ')}`);
    check(
      !invalid || found.length > 0,
      `openapi.yaml takes a body that should be refused: ${JSON.stringify(body)}`,
    );
  }

  judge(operation, answer, expect, request, isHead) {
    this.calls += 1;
    const seen = this.seen.get(operation.operationId) ?? new Set();
    this.seen.set(operation.operationId, seen.add(answer.status));
    if (answer.body?.code && answer.status >= 400) this.problems.set(answer.body.code, answer.body);
    const got =
      answer.body?.code && answer.status >= 400 ? `${answer.status} ${answer.body.code}` : `${answer.status}`;
    const shown = `${operation.operationId}: ${request}\n      got ${got}: ${answer.text.slice(0, 600)}`;
    const wanted = [expect].flat().map(String);
    const plain = isHead ? `${answer.status}` : got;
    check(wanted.includes(plain), `${shown}\n      expected ${wanted.join(' or ')}`);
    const found = violations(this.contract, operation, answer, { isHead });
    check(found.length === 0, `${shown}\n      against openapi.yaml: ${found.join('; ')}`);
  }
}
