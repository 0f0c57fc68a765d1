// Every example in openapi.yaml must be one: of its schema, and where it is an answer's, without members that nobody
// documented.
import { check } from './api.mjs';

function examplesOf(media) {
  const found = [];
  if (media.example !== undefined) found.push(['example', media.example]);
  for (const [name, example] of Object.entries(media.examples ?? {})) found.push([name, example.value]);
  if (media.schema?.example !== undefined) found.push(['the schema’s example', media.schema.example]);
  for (const branch of media.schema?.oneOf ?? []) {
    if (branch.example !== undefined)
      found.push([`example of ${branch.title ?? 'a branch'}`, branch.example]);
  }
  return found;
}

function mediaCases(t, contract, where, media, closed) {
  for (const [name, value] of examplesOf(media)) {
    t(`examples: ${where}: ${name}`, () => {
      const found = contract.violations(media.schema, value, { closed });
      check(found.length === 0, found.join('; '));
    });
  }
}

export function exampleCases(t, contract) {
  for (const [id, operation] of contract.operations) {
    for (const [type, media] of Object.entries(operation.requestBody?.content ?? {})) {
      t(`examples: ${id} has an example of its ${type} body`, () =>
        check(examplesOf(media).length > 0, 'it has none'),
      );
      mediaCases(t, contract, `${id} request ${type}`, media, false);
    }
    for (const [status, response] of Object.entries(operation.responses)) {
      for (const [type, media] of Object.entries(response.content ?? {})) {
        if (type.startsWith('application/problem') === false) {
          t(`examples: ${id} has an example of its ${status}`, () =>
            check(examplesOf(media).length > 0, 'it has none'),
          );
        }
        mediaCases(t, contract, `${id} ${status} ${type}`, media, true);
      }
    }
  }
  const { schemas, parameters, headers } = contract.document.components;
  const terms = { ...schemas, ...parameters, ...headers };
  for (const [name, term] of Object.entries(terms)) {
    if (term.example === undefined) continue;
    t(`examples: component ${name}`, () => {
      const found = contract.violations(term.schema ?? term, term.example);
      check(found.length === 0, found.join('; '));
    });
  }
}
