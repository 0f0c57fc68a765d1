// Compares the routes that the server has (`ringhold --routes`: METHOD /template operationId, one a line) with the
// operations of openapi.yaml. They must be the same set; how a template names its parameters is each side's own matter.
//
//   node tests/contract/routes.mjs [build/ringhold]
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Contract } from './contract.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const binary = process.argv[2] ?? `${ROOT}build/ringhold`;

const nameless = (template) => template.replace(/\{\w+\}/g, '{}');

function served() {
  const lines = execFileSync(binary, ['--routes'], { encoding: 'utf8' }).split('\n').filter(Boolean);
  return lines.map((line) => {
    const [method, template, operation, ...rest] = line.split(' ');
    if (!operation || rest.length > 0) throw new Error(`--routes printed a line that is no route: ${line}`);
    return `${method} ${nameless(template)} ${operation}`;
  });
}

const contract = new Contract(`${ROOT}openapi.yaml`);
const documented = [...contract.operations.values()].map(
  ({ method, template, operationId }) => `${method} ${nameless(template)} ${operationId}`,
);
const routes = served();
const missing = documented.filter((route) => !routes.includes(route));
const unknown = routes.filter((route) => !documented.includes(route));
const twice = routes.filter((route, index) => routes.indexOf(route) !== index);
missing.forEach((route) => console.log(`in openapi.yaml, but the server has no route: ${route}`));
unknown.forEach((route) => console.log(`the server's route is not in openapi.yaml: ${route}`));
twice.forEach((route) => console.log(`the server has this route twice: ${route}`));
console.log(`${routes.length} routes, ${documented.length} operations`);
process.exitCode = missing.length + unknown.length + twice.length === 0 ? 0 : 1;
