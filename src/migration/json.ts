// What was read, as plain JSON: no number is rounded.

import { hex } from "../vmstate/wire/reader.ts";
import type { Difference, DifferenceSide } from "./diff.ts";
import type { Command, FieldNode, Migration, RamBlock, Section } from "./model.ts";

/** A value as JSON has it. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/**
 * `migration` as `cprkit inspect --json` prints it. 64-bit values are numbers up to 2^53-1, beyond that decimal texts;
 * buffers are texts of hex digits; a key without a value is left out.
 */
export function migrationToJson(migration: Migration): Readonly<Record<string, JsonValue>> {
  const { configuration, ram, vmdescription, stopped } = migration;
  return compact({
    format: migration.format,
    version: migration.version,
    machine: migration.machine ?? null,
    offset: migration.offset,
    size: migration.size,
    end: migration.offset + migration.size,
    complete: migration.complete,
    trailing: migration.trailing && compact({ ...migration.trailing }),
    pageSize: migration.pageSize,
    pageSizeStated: migration.pageSizeStated,
    configuration:
      configuration &&
      compact({
        offset: configuration.offset,
        size: configuration.size,
        targetPageBits: configuration.targetPageBits,
        capabilities: configuration.capabilities,
        uuid: configuration.uuid,
      }),
    sections: migration.sections.map(sectionToJson),
    commands: migration.commands.map(commandToJson),
    ram: ram === undefined ? null : { ...ram, blocks: ram.blocks.map(blockToJson) },
    vmdescription: vmdescription && { offset: vmdescription.offset, size: vmdescription.size },
    problems: migration.problems.map((problem) => compact(problem.toJSON())),
    stopped: stopped && compact(stopped.toJSON()),
  });
}

/** Differences as `cprkit diff --json` prints them: values exact, a side that does not have it is null. */
export function differencesToJson(differences: readonly Difference[]): JsonValue {
  const side = (one: DifferenceSide | undefined): JsonValue =>
    one === undefined ? null : { offset: one.offset ?? null, value: valueToJson(one.value) };
  return differences.map(({ kind, section, path, a, b }) => ({ kind, section, path, a: side(a), b: side(b) }));
}

function sectionToJson(section: Section): JsonValue {
  const { type, id, name, instance, version, offset, size, count, fields, opaque, packaged, device } = section;
  return compact({
    type,
    id,
    name,
    instance,
    version,
    offset,
    size,
    count: count > 1 ? count : undefined,
    packaged: packaged || undefined,
    opaque,
    decoded: type === "full" ? device?.state !== undefined : undefined,
    fields: type === "full" || fields.length > 0 ? fields.map(fieldToJson) : undefined,
  });
}

function commandToJson({ offset, number, name, size, fields }: Command): JsonValue {
  return { offset, number, name, size, fields: fields.map(fieldToJson) };
}

function blockToJson(block: RamBlock): JsonValue {
  return compact({
    ...block,
    address: block.address === undefined ? undefined : valueToJson(block.address),
    mapped: block.mapped && { ...block.mapped },
  });
}

/** A field and what is inside it: name, type, offset and size in bytes, and a value (see {@link valueToJson}) or fields. */
export function fieldToJson({ name, type, offset, size, value, fields }: FieldNode): JsonValue {
  const place = { name, type, offset, size };
  return fields === undefined ? { ...place, value: valueToJson(value) } : { ...place, fields: fields.map(fieldToJson) };
}

/**
 * A decoded value: exact, whatever its size. A bigint beyond 2^53-1 is a decimal text, a buffer a text of hex digits, NaN
 * and the infinities are texts; what has no form in JSON is null.
 */
export function valueToJson(value: unknown): JsonValue {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value.toString();
  }
  if (value instanceof Uint8Array) return hexOf(value);
  if (Array.isArray(value)) return value.map(valueToJson);
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value === "boolean" || typeof value === "string") return value;
  return null;
}

function hexOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += hex(byte);
  return text;
}

function compact(object: Readonly<Record<string, JsonValue | undefined>>): Readonly<Record<string, JsonValue>> {
  return Object.fromEntries(
    Object.entries(object).filter((entry): entry is [string, JsonValue] => entry[1] !== undefined),
  );
}
