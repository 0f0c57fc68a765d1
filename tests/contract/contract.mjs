// openapi.yaml as the tests use it: its operations with every $ref resolved, and for each answer a validator that is
// stricter than the document. The document leaves answers open, so that a later version may add members without
// breaking clients; a test must notice a member that nobody wrote down. So every object of an answer is closed here.
import { readFileSync } from 'node:fs';
import Ajv2019 from 'ajv/dist/2019.js';
import YAML from 'yaml';

export const METHODS = ['get', 'put', 'post', 'patch', 'delete'];
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

function makeAjv() {
  return new Ajv2019({
    allErrors: true,
    strict: true,
    strictTypes: false,
    keywords: ['example', 'discriminator'],
    formats: {
      'date-time': (text) => INSTANT.test(text) && !Number.isNaN(Date.parse(text)),
      int64: { type: 'number', validate: Number.isSafeInteger },
      double: { type: 'number', validate: Number.isFinite },
    },
  });
}

/** The document with every $ref replaced by what it points to. It has no cycles; one would end the recursion loudly. */
function resolve(document) {
  const lookUp = (ref) =>
    ref
      .slice(2)
      .split('/')
      .reduce((at, key) => {
        if (at?.[key] === undefined) throw new Error(`openapi.yaml: ${ref} points nowhere`);
        return at[key];
      }, document);
  const resolved = new Map(); // one object for each $ref, so that its validator is compiled once
  const walk = (node, depth) => {
    if (depth > 200) throw new Error('openapi.yaml: a $ref leads to itself');
    if (Array.isArray(node)) return node.map((item) => walk(item, depth + 1));
    if (node === null || typeof node !== 'object') return node;
    if (typeof node.$ref === 'string') {
      if (!resolved.has(node.$ref)) resolved.set(node.$ref, walk(lookUp(node.$ref), depth + 1));
      return resolved.get(node.$ref);
    }
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, walk(value, depth + 1)]));
  };
  return walk(document, 0);
}

/** Closes every object of a schema that does not say itself what else it may have. */
function close(schema, partOfAllOf = false) {
  const closed = { ...schema };
  for (const key of ['oneOf', 'anyOf']) {
    if (schema[key]) closed[key] = schema[key].map((branch) => close(branch, partOfAllOf));
  }
  if (schema.allOf) closed.allOf = schema.allOf.map((branch) => close(branch, true));
  if (schema.items) closed.items = close(schema.items);
  if (schema.properties) {
    closed.properties = Object.fromEntries(
      Object.entries(schema.properties).map(([name, property]) => [name, close(property)]),
    );
  }
  const isObject = schema.properties !== undefined || schema.allOf !== undefined;
  if (isObject && !partOfAllOf && schema.additionalProperties === undefined)
    closed.unevaluatedProperties = false;
  return closed;
}

function operationsOf(document) {
  const operations = new Map();
  for (const [template, item] of Object.entries(document.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const operation = item[method];
      operations.set(operation.operationId, {
        ...operation,
        template,
        method: method.toUpperCase(),
        parameters: [...(item.parameters ?? []), ...(operation.parameters ?? [])],
      });
    }
  }
  return operations;
}

export class Contract {
  constructor(path) {
    this.text = readFileSync(path, 'utf8');
    this.raw = YAML.parse(this.text);
    this.document = resolve(this.raw);
    this.operations = operationsOf(this.document);
    this.ajv = makeAjv();
    this.compiled = new Map();
  }

  operation(id) {
    const operation = this.operations.get(id);
    if (!operation) throw new Error(`openapi.yaml has no operation ${id}`);
    return operation;
  }

  /** The methods that a path takes, HEAD aside. */
  methodsOf(target) {
    const pattern = (template) =>
      new RegExp(`^${template.replace('.', '\\.').replace(/\{\w+\}/g, '[^/]+')}$`);
    const operations = [...this.operations.values()].filter(({ template }) => pattern(template).test(target));
    return new Set(operations.map(({ method }) => method));
  }

  /** What is wrong with the value, as a list of sentences. */
  violations(schema, value, { closed = false } = {}) {
    const cache = closed ? 'closed' : 'open';
    if (!this.compiled.has(schema)) this.compiled.set(schema, {});
    const entry = this.compiled.get(schema);
    entry[cache] ??= this.ajv.compile(closed ? close(schema) : schema);
    if (entry[cache](value)) return [];
    return entry[cache].errors.map((error) => {
      const what =
        error.params?.unevaluatedProperty ?? error.params?.additionalProperty ?? error.params?.allowedValues;
      return `${error.instancePath || 'the body'} ${error.message}${what === undefined ? '' : ` (${what})`}`;
    });
  }

  bodySchema(operation) {
    return operation.requestBody?.content['application/json'].schema;
  }

  /** The first example of an operation's request body. */
  bodyExample(operation) {
    const media = operation.requestBody.content['application/json'];
    return structuredClone(media.example ?? Object.values(media.examples)[0].value);
  }

  /** Every problem code that some answer may have. */
  problemCodes() {
    const codes = new Set();
    const walk = (node) => {
      if (node === null || typeof node !== 'object') return;
      for (const code of node.properties?.code?.enum ?? []) codes.add(code);
      Object.values(node).forEach(walk);
    };
    for (const operation of this.operations.values()) {
      for (const response of Object.values(operation.responses)) {
        walk(response.content?.['application/problem+json']?.schema);
      }
    }
    return codes;
  }
}
