// What a check knows of one side: from a stream, from a stream's JSON, or from QEMU's -dump-vmstate.

import { CprkitError } from "../../vmstate/error.ts";
import type { AnyDescription, NamedField } from "../../vmstate/types.ts";
import { type JsonNode, type JsonObject, parseJson } from "../../vmstate/vmdesc/json.ts";
import { parseVmdesc, type VmdescDevice } from "../../vmstate/vmdesc/read.ts";
import { bad, member, objectAt } from "../../vmstate/vmdesc/shape.ts";
import type { FieldNode, Migration, RamBlock } from "../model.ts";
import { sectionLabel } from "../paths.ts";

/** One side of a check: what a machine sent, or what it can send. Made by `checkSideOf` and `checkSideOfJson`. */
export interface CheckSide {
  /**
   * "stream" and "vmdesc" list what one machine sent: its devices, and of each what was needed. "dump" lists device
   * models with all that they may send (QEMU's -dump-vmstate).
   */
  readonly kind: "stream" | "vmdesc" | "dump";
  /** The machine type; undefined if unknown. */
  readonly machine: string | undefined;
  /** Guest page size in bytes; undefined if unknown. */
  readonly pageSize: number | undefined;
  /** Of the configuration section, as text; undefined if it was not sent. */
  readonly uuid?: string | undefined;
  /** Of the configuration section; undefined if unknown. */
  readonly capabilities: readonly string[] | undefined;
  /**
   * Its description numbers the elements of arrays, as QEMU's do up to 10.x; false or undefined if none has to be, or it is
   * unknown.
   */
  readonly numbersElements?: boolean | undefined;
  /** In the order of the input. */
  readonly sections: readonly CheckSection[];
  /** Undefined if unknown: only a stream has them. */
  readonly blocks: readonly RamBlock[] | undefined;
}

/** A section of a stream, or a device model of a dump. */
export interface CheckSection {
  /** As `sectionLabel` names it, or the device model's name in a dump. */
  readonly name: string;
  /** Undefined if unknown: of an old-style handler in a stream's JSON. */
  readonly version: number | undefined;
  /** Oldest version that is loaded; undefined if unknown: only a dump states it. */
  readonly minimumVersion: number | undefined;
  /** Undefined if nothing describes it. */
  readonly body: CheckBody | undefined;
  /** What it sent, with its values: only of a stream. */
  readonly values?: readonly FieldNode[] | undefined;
}

/** A VMState description: of a section, a structure or a subsection. */
export interface CheckBody {
  /** The VMSD's name. */
  readonly name: string;
  readonly version: number;
  /** Oldest version that is loaded; undefined if unknown: only a dump states it. */
  readonly minimumVersion: number | undefined;
  /** In the order of the stream. */
  readonly fields: readonly CheckField[];
  readonly subsections: readonly CheckBody[];
}

/** A field of a description. */
export interface CheckField {
  readonly name: string;
  /** QEMU's type name; undefined in a dump. */
  readonly type: string | undefined;
  /** Bytes: of all elements in a stream, of one element in memory in a dump; undefined if they vary. */
  readonly size: number | undefined;
  /** Number of elements; undefined if unknown. */
  readonly count: number | undefined;
  /** The field exists from this version on. */
  readonly since: number;
  /** A test decides at run time whether the field exists. */
  readonly conditional: boolean;
  /** Its place in an array whose elements have a description each: a dump has one for all. */
  readonly element?: number | undefined;
  /** Of a structure; undefined for everything else. */
  readonly body: CheckBody | undefined;
}

/** A side from a stream that was read. Throws ERR_BAD_STREAM, ERR_DEPTH or ERR_LIMIT if it has no usable JSON description. */
export function checkSideOf(migration: Migration): CheckSide {
  const { vmdescription, configuration, machine, pageSize, ram } = migration;
  if (vmdescription === undefined) {
    throw new CprkitError(
      "ERR_BAD_STREAM",
      "the stream has no JSON description, so what its sections hold is unknown; save the machine again without suppress-vmdesc, or give a -dump-vmstate file",
      { offset: migration.offset + migration.size },
    );
  }
  const devices = new Map(parseVmdesc(vmdescription.text).devices.map((device) => [deviceLabel(device), device]));
  const sections = migration.sections
    .filter(({ type }) => type === "start" || type === "full")
    .map((section) => {
      const name = sectionLabel(section);
      const device = devices.get(name);
      return {
        name,
        version: section.version,
        minimumVersion: undefined,
        body: device && bodyOf(device),
        values: section.fields,
      };
    });
  const capabilities = configuration?.capabilities;
  const uuid = configuration?.uuid;
  const numbersElements = /"index": ?\d/.test(vmdescription.text);
  return { kind: "stream", machine, pageSize, uuid, capabilities, numbersElements, sections, blocks: ram?.blocks };
}

/**
 * A side from JSON: a stream's description, or what QEMU's -dump-vmstate wrote. Throws ERR_BAD_STREAM, ERR_DEPTH or
 * ERR_LIMIT, with the offset in the text, for what is neither.
 */
export function checkSideOfJson(text: string): CheckSide {
  const root = objectAt(parseJson(text), "it");
  if (member(root, "devices") !== undefined) {
    const { devices, pageSize } = parseVmdesc(text);
    const sections = devices.map((device) => ({
      name: deviceLabel(device),
      version: device.oldStyle ? undefined : device.description.version,
      minimumVersion: undefined,
      body: bodyOf(device),
    }));
    return { kind: "vmdesc", machine: undefined, pageSize, capabilities: undefined, sections, blocks: undefined };
  }
  return dumpSide(root);
}

function deviceLabel({ name, instanceId }: VmdescDevice): string {
  return sectionLabel({ name, instance: instanceId });
}

function bodyOf({ oldStyle, description }: VmdescDevice): CheckBody | undefined {
  return oldStyle ? undefined : describedBody(description);
}

function describedBody({ name, version, fields, subsections }: AnyDescription): CheckBody {
  return {
    name,
    version,
    minimumVersion: undefined,
    fields: fields.flatMap(describedFields),
    subsections: subsections.map(({ description }) => describedBody(description)),
  };
}

function describedFields({ name, field }: NamedField): CheckField[] {
  const { type, size, length, descriptions = [] } = field;
  const plain = { name, type, size, count: length, since: 0, conditional: false, body: undefined };
  const [first] = descriptions;
  if (first === undefined || isList(type)) return [plain];
  // Elements that are not all alike have a description each.
  if (length === undefined || descriptions.length !== length || length === 1)
    return [{ ...plain, body: describedBody(first) }];
  return descriptions.map((description, at) => ({
    ...plain,
    name: `${name}[${at}]`,
    element: at,
    size: undefined,
    count: 1,
    body: describedBody(description),
  }));
}

function isList(type: string): boolean {
  return type === "qlist" || type === "qtailq" || type === "gtree";
}

// QEMU 10.0 migration/savevm.c, dump_vmstate_json_to_file.
function dumpSide(root: JsonObject): CheckSide {
  let machine: string | undefined;
  const sections: CheckSection[] = [];
  for (const { key, value } of root.members) {
    const object = objectAt(value, `"${key}"`);
    if (key === "vmschkmachine") machine = textOf(object, "Name");
    else sections.push(dumpSection(key, object));
  }
  if (machine === undefined && sections.length === 0)
    throw bad(root, "neither a stream's description nor a -dump-vmstate file");
  return { kind: "dump", machine, pageSize: undefined, capabilities: undefined, sections, blocks: undefined };
}

function dumpSection(name: string, object: JsonObject): CheckSection {
  const description = member(object, "Description");
  return {
    name,
    version: integerOf(object, "version_id"),
    minimumVersion: optionalInteger(object, "minimum_version_id"),
    body: description && dumpBody(description),
  };
}

function dumpBody(value: JsonNode): CheckBody {
  const object = objectAt(value, "a description");
  return {
    name: textOf(object, "name"),
    version: integerOf(object, "version_id"),
    minimumVersion: optionalInteger(object, "minimum_version_id"),
    fields: listOf(object, "Fields").map(dumpField),
    subsections: listOf(object, "Subsections").map(dumpBody),
  };
}

function dumpField(value: JsonNode): CheckField {
  const object = objectAt(value, "a field");
  const description = member(object, "Description");
  const conditional = member(object, "field_exists");
  return {
    name: textOf(object, "field"),
    type: undefined,
    size: optionalInteger(object, "size"),
    count: optionalInteger(object, "num"),
    since: optionalInteger(object, "version_id") ?? 0,
    conditional: conditional?.kind === "scalar" && conditional.value === true,
    body: description && dumpBody(description),
  };
}

function listOf(object: JsonObject, key: string): readonly JsonNode[] {
  const value = member(object, key);
  if (value === undefined) return [];
  if (value.kind !== "array") throw bad(value, `"${key}" must be an array`);
  return value.items;
}

function textOf(object: JsonObject, key: string): string {
  const value = member(object, key);
  if (value?.kind === "scalar" && typeof value.value === "string") return value.value;
  throw bad(value ?? object, `"${key}" must be a text`);
}

function integerOf(object: JsonObject, key: string): number {
  const value = optionalInteger(object, key);
  if (value === undefined) throw bad(object, `"${key}" is missing`);
  return value;
}

function optionalInteger(object: JsonObject, key: string): number | undefined {
  const value = member(object, key);
  if (value === undefined) return undefined;
  if (value.kind === "scalar" && typeof value.value === "number" && Number.isSafeInteger(value.value))
    return value.value;
  throw bad(value, `"${key}" must be an integer`);
}
