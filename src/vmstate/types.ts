// What a field and a description are. A field kind is one small object that implements `Field`; adding one touches no
// other file.

import { CprkitError } from "./error.ts";
import type { DescriptionFacts, FieldFacts, Siblings } from "./facts.ts";
import type { Reader } from "./wire/reader.ts";
import type { Writer } from "./wire/writer.ts";

/**
 * A field kind: the counterpart of QEMU's VMStateField with its VMStateInfo (QEMU 10.0 include/migration/vmstate.h).
 * `T` is the type of the value in the state.
 */
export interface Field<T> extends FieldFacts {
  /** The descriptions inside this field, for tools that walk a description. */
  readonly descriptions?: readonly AnyDescription[] | undefined;
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

/** A field and its name. */
export interface NamedField {
  readonly name: string;
  readonly field: AnyField;
}

/** A subsection, the key under which the parent's state holds its state, and when it is sent. */
export interface NamedSubsection {
  readonly key: string;
  readonly description: AnyDescription;
  /** Asked on save only. Left out: it is sent when the state has its key. */
  readonly needed?: ((state: never) => boolean) | undefined;
}

/**
 * Called around loading and saving, in QEMU's order: preLoad, fields, subsections, postLoad; preSave, fields,
 * subsections, postSave. postSave runs also when a field failed. A hook that throws ends the load or save.
 */
export interface Hooks<State> {
  /** Sets what older streams lack. `state` is the target before anything was read. */
  readonly preLoad?: ((state: Partial<State>) => void) | undefined;
  /** Checks and rebuilds. `version` is that of the stream. */
  readonly postLoad?: ((state: State, version: number) => void) | undefined;
  /** Brings the state into the form that is sent. */
  readonly preSave?: ((state: State) => void) | undefined;
  readonly postSave?: ((state: State) => void) | undefined;
}

/** Any description, for places that take one without looking at its state. */
export interface AnyDescription extends DescriptionFacts {
  readonly fields: readonly NamedField[];
  readonly subsections: readonly NamedSubsection[];
  readonly hooks: Hooks<never>;
}

/** The type of a field's value. */
export type ValueOf<F> = F extends Field<infer T> ? T : never;

/** ERR_VALUE about `value`, for a field kind whose value does not fit. */
export function misfit(expected: string, value: unknown): CprkitError {
  return new CprkitError("ERR_VALUE", `expected ${expected}, found ${show(value)}`);
}

/** Reads a length or count that another field holds. Throws ERR_LIMIT when it is negative or has no safe number. */
export function siblingCount(siblings: Siblings, name: string, reader?: Reader): number {
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
