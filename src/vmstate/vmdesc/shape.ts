// The JSON description's objects, checked once: what follows it need not ask again.

import { CprkitError } from "../error.ts";
import type { JsonArray, JsonNode, JsonObject } from "./json.ts";

/** A VMSD's body as the JSON has it: alone, under "struct", or one of a list's groups of keys. */
export interface BodyShape {
  readonly offset: number;
  readonly name: string;
  readonly version: number;
  readonly fields: readonly EntryShape[];
  readonly subsections: readonly BodyShape[];
}

/** An entry of "fields". */
export interface EntryShape {
  readonly offset: number;
  readonly name: string;
  readonly type: string;
  /** Bytes of one element. */
  readonly size: number;
  readonly arrayLength: number | undefined;
  readonly index: number | undefined;
  readonly struct: BodyShape | undefined;
  /** Bodies whose keys are in the entry itself: that of a vstruct or tmp, those of a list's or tree's elements. */
  readonly groups: readonly BodyShape[];
}

/** An entry of "devices": a VMSD, or bytes of an old-style handler. */
export interface DeviceShape {
  readonly offset: number;
  readonly name: string;
  readonly instanceId: number;
  readonly body: BodyShape | undefined;
  /** Bytes of an old-style handler. */
  readonly size: number | undefined;
}

/** The body that `value` describes. Throws ERR_BAD_STREAM, at the offset of what is wrong. */
export function bodyShape(value: JsonNode): BodyShape {
  const object = objectAt(value, "a description");
  const [body, ...more] = groupsOf(object);
  if (body === undefined) throw bad(object, '"vmsd_name" is missing');
  if (more.length > 0) throw bad(object, '"vmsd_name" appears twice');
  return body;
}

/** The device that `value` describes. Throws ERR_BAD_STREAM. */
export function deviceShape(value: JsonNode): DeviceShape {
  const object = objectAt(value, "a device");
  const groups = groupsOf(object);
  if (groups.length > 1) throw bad(object, '"vmsd_name" appears twice');
  return {
    offset: object.offset,
    name: textOf(object, "name"),
    instanceId: integerOf(object, "instance_id"),
    body: groups[0],
    size: groups.length === 0 ? countOf(object, "size") : undefined,
  };
}

/** The value's members. Throws ERR_BAD_STREAM if it is not an object. */
export function objectAt(value: JsonNode, what: string): JsonObject {
  if (value.kind !== "object") throw bad(value, `${what} must be an object`);
  return value;
}

/** The member `key`; the last, if it is repeated. */
export function member(object: JsonObject, key: string): JsonNode | undefined {
  for (let i = object.members.length - 1; i >= 0; i--) {
    const one = object.members[i];
    if (one?.key === key) return one.value;
  }
  return undefined;
}

/** The items of the array `key`. Throws ERR_BAD_STREAM if it is not an array. */
export function itemsOf(object: JsonObject, key: string): JsonArray["items"] {
  const value = member(object, key);
  if (value?.kind !== "array") throw bad(value ?? object, `"${key}" must be an array`);
  return value.items;
}

/** An integer from 0 to 2^31-1. Throws ERR_BAD_STREAM. */
export function countOf(object: JsonObject, key: string): number {
  const value = integerOf(object, key);
  if (value < 0 || value > 0x7fff_ffff)
    throw bad(member(object, key) ?? object, `"${key}" is ${value}, not from 0 to 2147483647`);
  return value;
}

/** ERR_BAD_STREAM at `place`. */
export function bad(place: { readonly offset: number }, reason: string): CprkitError {
  return new CprkitError("ERR_BAD_STREAM", `the JSON description: ${reason}`, { offset: place.offset });
}

function entryShape(value: JsonNode): EntryShape {
  const object = objectAt(value, "a field");
  const struct = member(object, "struct");
  return {
    offset: object.offset,
    name: textOf(object, "name"),
    type: textOf(object, "type"),
    size: countOf(object, "size"),
    arrayLength: member(object, "array_len") === undefined ? undefined : countOf(object, "array_len"),
    index: member(object, "index") === undefined ? undefined : countOf(object, "index"),
    // QEMU before 10.0 writes {} for an array of pointers whose first one is null.
    struct: struct === undefined || isEmpty(struct) ? undefined : bodyShape(struct),
    groups: groupsOf(object),
  };
}

function isEmpty(value: JsonNode): boolean {
  return value.kind === "object" && value.members.length === 0;
}

// Each "vmsd_name" begins a group; QEMU writes version, fields and subsections after it, in this order.
function groupsOf(object: JsonObject): BodyShape[] {
  const groups: BodyShape[] = [];
  let begun: JsonObject["members"][number][] = [];
  let started = false;
  const close = () => {
    if (started) groups.push(groupShape({ kind: "object", offset: object.offset, members: begun }));
  };
  for (const one of object.members) {
    if (one.key === "vmsd_name") {
      close();
      started = true;
      begun = [];
    }
    begun.push(one);
  }
  close();
  return groups;
}

function groupShape(object: JsonObject): BodyShape {
  const subsections = member(object, "subsections") === undefined ? [] : itemsOf(object, "subsections");
  return {
    offset: object.offset,
    name: textOf(object, "vmsd_name"),
    version: countOf(object, "version"),
    fields: itemsOf(object, "fields").map(entryShape),
    subsections: subsections.map(bodyShape),
  };
}

function textOf(object: JsonObject, key: string): string {
  const value = member(object, key);
  if (value?.kind !== "scalar" || typeof value.value !== "string")
    throw bad(value ?? object, `"${key}" must be a text`);
  return value.value;
}

function integerOf(object: JsonObject, key: string): number {
  const value = member(object, key);
  if (value?.kind !== "scalar" || !Number.isSafeInteger(value.value))
    throw bad(value ?? object, `"${key}" must be an integer`);
  return value.value as number;
}
