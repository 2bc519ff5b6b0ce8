// Whether what is printed with --json is as its schema says: by the schema that `cprkit schema` prints, and by its source,
// which also finds keys that no schema has.

import { expect } from "vitest";
import { z } from "zod";
import { jsonSchema, outputs } from "../../src/cli/schema/all.ts";

/** Checks one line of JSON, and gives its value. */
export function expectSchema(name: string, line: string): unknown {
  const value: unknown = JSON.parse(line);
  const schema = jsonSchema(name);
  if (schema === undefined) throw new Error(`no schema is called ${name}`);
  const printed = z.fromJSONSchema(schema).safeParse(value);
  expect([name, printed.success ? [] : printed.error.issues]).toEqual([name, []]);
  expect(outputs[name]?.schema.parse(value)).toEqual(value);
  return value;
}
