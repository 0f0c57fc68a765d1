// Makes bodies that break a schema in one place each, from a body that keeps it. What comes out is what a client can
// get wrong: a field missing, unknown, of the wrong type, or out of range.

const WRONG_TYPE = { string: 7, integer: '7', number: 'much', boolean: 'yes', object: [1], array: { 0: 1 } };

function wrongValues(name, schema) {
  const wrong = [];
  const add = (what, value) => wrong.push({ what: `${name} ${what}`, value, codes: ['invalid-field'] });
  if (WRONG_TYPE[schema.type] !== undefined) add('of the wrong type', WRONG_TYPE[schema.type]);
  if (schema.type && !schema.nullable) add('as null', null);
  if (schema.type === 'integer') add('as a fraction', (schema.minimum ?? 0) + 0.5);
  if (schema.minimum !== undefined) add('too small', schema.minimum - 1);
  if (schema.maximum !== undefined) add('too large', schema.maximum + 1);
  if (schema.type === 'integer') add('beyond 64 bits', 1e30);
  if (schema.enum) add('of an unknown kind', 'no-such-choice');
  if (schema.minLength) add('empty', '');
  if (schema.maxLength) add('too long', 'a'.repeat(schema.maxLength + 1));
  if (schema.pattern) add('with bytes it may not have', 'a b/c');
  if (schema.minItems) add('without items', []);
  /* A field that holds a name may be refused as a field or as a name. */
  if (schema.pattern) wrong.forEach((item) => item.codes.push('invalid-name'));
  return wrong;
}

function* replaced(body, name, schema) {
  for (const { what, value, codes } of wrongValues(name, schema)) {
    yield { what, body: { ...body, [name]: value }, codes, names: name };
  }
}

function* inner(body, name, schema) {
  const value = body[name];
  if (schema.properties && value) {
    for (const one of mutations(schema, value)) {
      yield { ...one, what: `${name}: ${one.what}`, body: { ...body, [name]: one.body } };
    }
  }
  if (schema.items?.properties && value?.length > 0) {
    for (const one of mutations(schema.items, value[0])) {
      yield {
        ...one,
        what: `${name}[0]: ${one.what}`,
        body: { ...body, [name]: [one.body, ...value.slice(1)] },
      };
    }
  }
  if (schema.items && !schema.items.properties && schema.items.type) {
    yield {
      what: `${name}[0] of the wrong type`,
      body: { ...body, [name]: [WRONG_TYPE[schema.items.type]] },
      codes: ['invalid-field'],
      names: name,
    };
  }
}

/** Yields {what, body, codes, names}: a broken body, the codes it may be refused with, the field to be named. */
export function* mutations(schema, body) {
  if (schema.additionalProperties === false) {
    yield {
      what: 'an unknown field',
      body: { ...body, no_such_field: 1 },
      codes: ['unknown-field'],
      names: 'no_such_field',
    };
  }
  for (const name of schema.required ?? []) {
    const { [name]: _, ...rest } = body;
    yield { what: `${name} missing`, body: rest, codes: ['missing-field'], names: name };
  }
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    yield* replaced(body, name, property);
    yield* inner(body, name, property);
  }
}
