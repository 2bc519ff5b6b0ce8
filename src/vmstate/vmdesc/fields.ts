// Field kinds made from a JSON description: they load and save exactly the elements that it lists.

import type { Description } from "../description.ts";
import { located, saveBody } from "../engine.ts";
import { loadElement } from "../fields/lists.ts";
import { nullMark, setMark } from "../fields/pointers.ts";
import { vstruct } from "../fields/struct.ts";
import { fieldMinimum } from "../sizes.ts";
import { type AnyField, type Field, misfit } from "../types.ts";
import { hex, type Reader } from "../wire/reader.ts";
import type { Writer } from "../wire/writer.ts";

/** A state that no code knows: field name to value. */
export type PlainState = Record<string, unknown>;

/** Part of a run of entries of one name: `count` elements of one kind, or null pointers. */
export interface RunPart {
  /** Undefined for null pointers (and for a marker before an element that is set). */
  readonly field: AnyField | undefined;
  readonly count: number;
}

/**
 * The elements of several entries of one name. `type` and `marker` are those of null pointers: with "ptr-marker" a
 * byte 31 says that the next entry is the pointer's value.
 */
export function run(
  type: string,
  parts: readonly RunPart[],
  compressible: boolean,
  nullType: string | undefined,
): Field<unknown[]> {
  const marked = nullType === "ptr-marker";
  return {
    type,
    sequence: nullType === undefined ? "array" : "pointers",
    compressible,
    length: parts.reduce((sum, { count }) => sum + count, 0),
    descriptions: parts.flatMap(({ field }) => field?.descriptions ?? []),
    minimum: parts.reduce((sum, { field, count }) => sum + count * (field === undefined ? 1 : fieldMinimum(field)), 0),
    load: (reader, _current, siblings) => {
      const values: unknown[] = [];
      try {
        for (const [at, { field, count }] of parts.entries()) {
          for (let i = 0; i < count; i++) {
            reader.observer?.enter(
              values.length,
              field === undefined ? (nullType ?? "nullptr") : field.type,
              reader.offset,
              field?.descriptions?.[0]?.name,
            );
            let value: unknown = null;
            if (field !== undefined) value = (field as Field<unknown>).load(reader, undefined, siblings);
            else if (!loadNull(reader, marked && count === 1 && parts[at + 1]?.count === 1)) value = undefined;
            if (value !== undefined) values.push(value);
            reader.observer?.leave(reader.offset, value);
          }
        }
      } catch (error) {
        throw located(error, values.length);
      }
      return values;
    },
    save: (writer, value, siblings) => {
      if (!Array.isArray(value)) throw misfit("an array", value);
      let at = 0;
      try {
        for (const { field, count } of parts) {
          for (let i = 0; i < count; i++) {
            if (field === undefined) {
              const set = value[at] !== null;
              if (set && !(marked && count === 1)) throw misfit("null", value[at]);
              writer.observer?.enterElement(set ? "marker" : "null", writer.pos);
              writer.uint8(set ? setMark : nullMark);
              writer.observer?.leaveElement(writer.pos);
              if (!set) at += 1;
            } else {
              // A timer that is not armed is null, too.
              const isMissing = value[at] === undefined || (value[at] === null && field.descriptions !== undefined);
              if (isMissing) throw misfit("a value", value[at]);
              writer.observer?.enterElement("value", writer.pos);
              (field as Field<unknown>).save(writer, value[at], siblings);
              writer.observer?.leaveElement(writer.pos);
              at += 1;
            }
          }
        }
      } catch (error) {
        throw located(error, at);
      }
      if (at !== value.length) throw misfit(`an array of ${at}`, value);
    },
  };
}

/** The body of a "struct", "vstruct" or "tmp" as the JSON description has it, at the version given there. */
export function described(type: string, description: Description<PlainState>, length?: number): Field<PlainState> {
  const field = vstruct(description, description.version);
  return { ...field, type, size: length ?? field.size };
}

/** A qlist or qtailq: each element by its own description. */
export function describedList(type: string, elements: readonly Description<PlainState>[]): Field<PlainState[]> {
  return {
    type,
    minimum: elements.length + 1,
    descriptions: elements,
    load: (reader) => {
      const states: PlainState[] = [];
      try {
        for (const description of elements) {
          checkMore(reader, states.length, elements.length);
          states.push(loadElement(reader, description, description.version, states.length));
        }
      } catch (error) {
        throw located(error, states.length);
      }
      checkEnd(reader, elements.length);
      return states;
    },
    save: (writer, value) => {
      checkLength(value, elements.length);
      for (const [at, description] of elements.entries()) {
        writer.uint8(1);
        saveState(writer, description, value[at] as PlainState, at);
      }
      writer.uint8(0);
    },
  };
}

/** An entry of a tree that no code knows: its key is a state, or a number for the direct form. */
export interface PlainEntry {
  readonly key: PlainState | bigint;
  readonly value: PlainState;
}

/** A gtree: each key and value by its own description; a key without one is a 64-bit number. */
export function describedTree(
  type: string,
  entries: readonly { readonly key?: Description<PlainState>; readonly value: Description<PlainState> }[],
): Field<PlainEntry[]> {
  return {
    type,
    minimum: entries.length + 5,
    descriptions: entries.flatMap(({ key, value }) => (key === undefined ? [value] : [value, key])),
    load: (reader) => {
      const count = reader.uint32();
      if (count !== entries.length)
        throw reader.error(
          "ERR_COUNT",
          `the stream announces ${count} entries, its JSON description ${entries.length}`,
          4,
        );
      const loaded: PlainEntry[] = [];
      try {
        for (const entry of entries) {
          checkMore(reader, loaded.length, entries.length);
          reader.observer?.enter(loaded.length, "entry", reader.offset);
          const key =
            entry.key === undefined ? reader.uint64() : loadElement(reader, entry.key, entry.key.version, "key");
          const value = loadElement(reader, entry.value, entry.value.version, "value");
          loaded.push({ key, value });
          reader.observer?.leave(reader.offset, loaded[loaded.length - 1]);
        }
      } catch (error) {
        throw located(error, loaded.length);
      }
      checkEnd(reader, entries.length);
      return loaded;
    },
    save: (writer, value) => {
      checkLength(value, entries.length);
      writer.uint32(entries.length);
      for (const [at, entry] of entries.entries()) {
        const { key, value: state } = value[at] as PlainEntry;
        writer.uint8(1);
        if (entry.key !== undefined) saveState(writer, entry.key, key as PlainState, at);
        else if (typeof key === "bigint") writer.uint64(key);
        else throw located(misfit("a bigint key", key), at);
        saveState(writer, entry.value, state, at);
      }
      writer.uint8(0);
    },
  };
}

/** True for a null pointer, false for the marker of one that is set. */
function loadNull(reader: Reader, maySet: boolean): boolean {
  const byte = reader.uint8();
  if (byte === nullMark) return true;
  if (byte === setMark && maySet) return false;
  throw reader.error(
    "ERR_BAD_BYTE",
    `expected 30${maySet ? " (null) or 31 (set)" : ", a null pointer"}, found ${hex(byte)}`,
    1,
  );
}

function checkMore(reader: Reader, at: number, count: number): void {
  if (!reader.flag(`element ${at} of ${count}`))
    throw reader.error("ERR_COUNT", `the JSON description has ${count} elements, the stream ends after ${at}`, 1);
}

function checkEnd(reader: Reader, count: number): void {
  if (reader.flag(`the end after ${count} elements`))
    throw reader.error("ERR_COUNT", `the JSON description has ${count} elements, the stream one more`, 1);
}

function checkLength(value: unknown, length: number): void {
  if (!Array.isArray(value) || value.length !== length) throw misfit(`an array of ${length}`, value);
}

function saveState(writer: Writer, description: Description<PlainState>, state: PlainState, at: number): void {
  try {
    saveBody(writer, description, state);
  } catch (error) {
    throw located(located(error, description.name), at);
  }
}
