// Holds one answer against what openapi.yaml says of its operation.

function headerViolations(contract, response, answer) {
  const found = [];
  for (const [name, header] of Object.entries(response.headers ?? {})) {
    const text = answer.headers[name.toLowerCase()];
    if (text === undefined) {
      if (header.required) found.push(`the header ${name} is missing`);
      continue;
    }
    const value = header.schema.type === 'integer' && /^\d+$/.test(text) ? Number(text) : text;
    for (const violation of contract.violations(header.schema, value)) {
      found.push(`the header ${name}: ${text}: ${violation.replace('the body', 'the value')}`);
    }
  }
  return found;
}

function bodyViolations(contract, response, answer, isHead) {
  if (!response.content) {
    return answer.text === '' ? [] : [`there should be no body, but there is: ${answer.text.slice(0, 200)}`];
  }
  const type = (answer.headers['content-type'] ?? '').split(';')[0];
  const media = response.content[type];
  if (!media) {
    return [`the Content-Type is "${type}" instead of ${Object.keys(response.content).join(' or ')}`];
  }
  if (isHead) return answer.text === '' ? [] : ['an answer to HEAD has a body'];
  if (!type.endsWith('json')) return contract.violations(media.schema, answer.text);
  return answer.body === undefined
    ? [`the body is not JSON: ${answer.text.slice(0, 200)}`]
    : contract.violations(media.schema, answer.body, { closed: true });
}

/** What the members of a problem say must be what the status line says. */
function problemViolations(answer) {
  if (!answer.headers['content-type']?.startsWith('application/problem+json') || !answer.body) return [];
  const found = [];
  if (answer.body.status !== answer.status) found.push(`the problem's status is ${answer.body.status}`);
  if (answer.body.type !== `/problems/${answer.body.code}`)
    found.push(`the problem's type is ${answer.body.type}`);
  return found;
}

function versionViolations(answer) {
  const version = answer.body?.current_version ?? answer.body?.version;
  const etag = answer.headers.etag;
  if (etag === undefined || !Number.isInteger(version) || etag === `"${version}"`) return [];
  return [`the ETag is ${etag}, the version ${version}`];
}

/** The documented response that an answer is one of: by its status, or `default` for what any request can meet. */
export function responseFor(operation, status) {
  return operation.responses[String(status)] ?? (status >= 400 ? operation.responses.default : undefined);
}

/** All that is wrong with an answer, as a list of sentences. */
export function violations(contract, operation, answer, { isHead = false } = {}) {
  const response = responseFor(operation, answer.status);
  if (!response) return [`the status ${answer.status} is not documented for ${operation.operationId}`];
  return [
    ...headerViolations(contract, response, answer),
    ...bodyViolations(contract, response, answer, isHead),
    ...problemViolations(answer),
    ...versionViolations(answer),
  ];
}
