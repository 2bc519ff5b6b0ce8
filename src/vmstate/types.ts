// What a field is. A field kind is one small object that implements `Field`; adding one touches no other file.

import type { AnyDescription } from "./description.ts";
import { CprkitError } from "./error.ts";
import type { Reader } from "./wire/reader.ts";
import type { Writer } from "./wire/writer.ts";

/** The object whose fields are loaded or saved, as a field kind sees it: to read a count or a size beside it. */
export type Siblings = Readonly<Record<string, unknown>>;

/**
 * A field kind: the counterpart of QEMU's VMStateField with its VMStateInfo (QEMU 10.0 include/migration/vmstate.h).
 * `T` is the type of the value in the state.
 */
export interface Field<T> {
  /** The type's name in QEMU's JSON description ("uint32", "qlist"). */
  readonly type: string;
  /** Bytes on the wire when they are always the same, else undefined. */
  readonly size?: number | undefined;
  /** Fewest bytes on the wire when `size` is unknown: a count is checked against it before anything is allocated. */
  readonly minimum?: number | undefined;
  /**
   * QEMU's field.version_id: the field exists from this version of its description on; list, tree and hash kinds load
   * their elements at it as well. Default 0.
   */
  readonly version?: number | undefined;
  /** When given, the only truth about whether the field exists: `version` is not asked then (QEMU's field_exists). */
  readonly exists?: ((siblings: Siblings, version: number) => boolean) | undefined;
  /** A stream without the field is an error instead of leaving the field as it was (VMS_MUST_EXIST). */
  readonly mustExist?: boolean | undefined;
  /** The state may lack a value: `save` is called with undefined then. */
  readonly optional?: boolean | undefined;
  /** Names of fields that this one needs to have been loaded: they must come before it. */
  readonly needs?: readonly string[] | undefined;
  /** Descriptions inside this field, for tools that walk a description. */
  readonly descriptions?: readonly AnyDescription[] | undefined;
  /**
   * Set when the field is a run of elements, which the JSON description lists as such: plain ones, pointers of which
   * some may be null, or pointers that each have a marker before them.
   */
  readonly sequence?: "array" | "pointers" | "marked pointers" | undefined;
  /** Whether one entry of the JSON description may stand for all elements. Default: decided as QEMU decides it. */
  readonly compressible?: boolean | undefined;
  /** Reads the value. `current` is what the target holds there now (undefined: nothing). */
  load(reader: Reader, current: T | undefined, siblings: Siblings): T;
  /** Writes the value. Throws ERR_VALUE if it does not fit. */
  save(writer: Writer, value: T, siblings: Siblings): void;
}

/** A field that some versions of a description lack: its value is `T | undefined` and its key may be missing. */
export interface GatedField<T> extends Field<T> {
  readonly gated: true;
}

/** Any field, for places that take one without looking at its value. */
// `never` in the parameter's place makes this the top type of Field<T> without `any`.
export type AnyField = Omit<Field<unknown>, "load" | "save"> & {
  load(reader: Reader, current: never, siblings: Siblings): unknown;
  save(writer: Writer, value: never, siblings: Siblings): void;
};

/** The type of a field's value. */
export type ValueOf<F> = F extends Field<infer T> ? T : never;

/** ERR_VALUE about `value`, for a field kind whose value does not fit. */
export function misfit(expected: string, value: unknown): CprkitError {
  return new CprkitError("ERR_VALUE", `expected ${expected}, found ${show(value)}`);
}

/** Reads a length or count that another field holds. Throws ERR_LIMIT when it is negative or has no safe number. */
export function countOf(siblings: Siblings, name: string, reader?: Reader): number {
  const value = siblings[name];
  const count = typeof value === "bigint" ? Number(value) : value;
  // QEMU reads a size as signed: from 2^31 on it goes wrong there (QEMU 10.0 migration/vmstate.c).
  if (typeof count === "number" && Number.isInteger(count) && count >= 0 && count < 2 ** 31) return count;
  const reason = `expected "${name}" to be from 0 to 2147483647, found ${show(value)}`;
  throw reader === undefined ? new CprkitError("ERR_VALUE", reason) : reader.error("ERR_LIMIT", reason);
}

/** `value` in a few words, for error messages. */
export function show(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "string") return JSON.stringify(value);
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? `an array of ${value.length}` : "an object";
  return String(value);
}
