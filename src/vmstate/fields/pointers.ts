// Pointers on the wire: null markers, and arrays of pointers of which some may be null.

import { located } from "../engine.ts";
import type { Siblings } from "../facts.ts";
import { fieldMinimum } from "../sizes.ts";
import { type Field, misfit, siblingCount } from "../types.ts";
import { hex, type Reader } from "../wire/reader.ts";
import type { Writer } from "../wire/writer.ts";
import { checkCount, checkNumber, shape } from "./arrays.ts";

/** '0' and '1': a null pointer, and (QEMU 11) a pointer that is set. */
export const nullMark = 0x30;
export const setMark = 0x31;

/** The byte 30 of a null pointer (vmstate_info_nullptr, QEMU 10.0). Throws ERR_BAD_BYTE for another. */
export function nullPointer(): Field<null> {
  return {
    type: "nullptr",
    size: 1,
    load: (reader) => {
      const byte = reader.uint8();
      if (byte !== nullMark) throw reader.error("ERR_BAD_BYTE", `expected 30, a null pointer, found ${hex(byte)}`, 1);
      return null;
    },
    save: (writer, value) => {
      if (value !== null) throw misfit("null", value);
      writer.uint8(nullMark);
    },
  };
}

/** The byte 30 or 31 before what a pointer points to (QEMU 11): true if the pointer is set. */
export function ptrMarker(): Field<boolean> {
  return {
    type: "ptr-marker",
    size: 1,
    load: loadMark,
    save: (writer, value) => {
      if (typeof value !== "boolean") throw misfit("true or false", value);
      writer.uint8(value ? setMark : nullMark);
    },
  };
}

/** Options of {@link arrayOfPointers}. */
export interface PointersOptions {
  /**
   * Which pointers are set, when the target does not tell: asked for each element on load. Default: those that are
   * set in the target.
   */
  readonly present?: (index: number, siblings: Siblings) => boolean;
}

/**
 * An array of pointers (VMSTATE_ARRAY_OF_POINTER, VMSTATE_ARRAY_OF_POINTER_TO_STRUCT; with the name of a count field
 * VMSTATE_VARRAY_OF_POINTER_*). A null is the byte 30; what is set is sent bare. The bytes do not tell the two apart:
 * as in QEMU, the target's own pointers do (an element that is null or missing there must be null in the stream), or
 * `present`. Throws ERR_BAD_BYTE when the stream has something else than 30 where the target has null.
 */
export function arrayOfPointers<T>(
  element: Field<T>,
  count: number | string,
  options: PointersOptions = {},
): Field<(T | null)[]> {
  const { present } = options;
  return pointers("pointers", element, count, {
    minimum: Math.min(1, fieldMinimum(element)),
    load: (reader, current, index, siblings) => {
      const set = present === undefined ? current != null : present(index, siblings);
      if (set) return element.load(reader, current ?? undefined, siblings);
      const byte = reader.uint8();
      if (byte !== nullMark) {
        throw reader.error(
          "ERR_BAD_BYTE",
          `expected 30, because this pointer is null in the target, found ${hex(byte)}`,
          1,
        );
      }
      return null;
    },
    save: (writer, value, siblings) => {
      writer.observer?.enterElement(value === null ? "null" : "value", writer.pos);
      if (value === null) writer.uint8(nullMark);
      else element.save(writer, value, siblings);
      writer.observer?.leaveElement(writer.pos);
    },
  });
}

/**
 * An array of pointers, each with a marker before it: 30 for null, 31 before what is set (QEMU 11,
 * VMS_ARRAY_OF_POINTER_AUTO_ALLOC). It tells by itself what is set.
 */
export function arrayOfMarkedPointers<T>(element: Field<T>, count: number | string): Field<(T | null)[]> {
  return pointers("marked pointers", element, count, {
    minimum: 1,
    load: (reader, current, _index, siblings) => {
      reader.observer?.enter("marker", "ptr-marker", reader.offset);
      const set = loadMark(reader);
      reader.observer?.leave(reader.offset, set);
      return set ? element.load(reader, current ?? undefined, siblings) : null;
    },
    save: (writer, value, siblings) => {
      writer.observer?.enterElement("marker", writer.pos);
      writer.uint8(value === null ? nullMark : setMark);
      writer.observer?.leaveElement(writer.pos);
      if (value === null) return;
      writer.observer?.enterElement("value", writer.pos);
      element.save(writer, value, siblings);
      writer.observer?.leaveElement(writer.pos);
    },
  });
}

interface PointerForm<T> {
  readonly minimum: number;
  readonly load: (reader: Reader, current: T | null | undefined, index: number, siblings: Siblings) => T | null;
  readonly save: (writer: Writer, value: T | null, siblings: Siblings) => void;
}

function pointers<T>(
  sequence: "pointers" | "marked pointers",
  element: Field<T>,
  count: number | string,
  form: PointerForm<T>,
): Field<(T | null)[]> {
  if (typeof count === "number") checkNumber("an array's length", count);
  const countIn = (siblings: Siblings, reader?: Reader) =>
    typeof count === "number" ? count : siblingCount(siblings, count, reader);
  const within = element.descriptions?.length === 1 ? element.descriptions[0]?.name : undefined;
  return {
    ...shape(element),
    sequence,
    minimum: typeof count === "number" ? count * form.minimum : 0,
    needs: typeof count === "number" ? [] : [count],
    load: (reader, current, siblings) => {
      const length = countIn(siblings, reader);
      checkCount(reader, length, form.minimum);
      const elements: (T | null)[] = [];
      try {
        while (elements.length < length) {
          const at = elements.length;
          reader.observer?.enter(at, element.type, reader.offset, within);
          elements.push(form.load(reader, current?.[at], at, siblings));
          reader.observer?.leave(reader.offset, elements[at]);
        }
      } catch (error) {
        throw located(error, elements.length);
      }
      return elements;
    },
    save: (writer, value, siblings) => {
      const length = countIn(siblings);
      if (!Array.isArray(value) || value.length !== length) throw misfit(`an array of ${length}`, value);
      let at = 0;
      try {
        for (; at < length; at++) {
          const pointer = value[at] as T | null | undefined;
          if (pointer === undefined) throw misfit("a value or null", pointer);
          form.save(writer, pointer, siblings);
        }
      } catch (error) {
        throw located(error, at);
      }
    },
  };
}

function loadMark(reader: Reader): boolean {
  const byte = reader.uint8();
  if (byte !== nullMark && byte !== setMark)
    throw reader.error("ERR_BAD_BYTE", `expected 30 (null) or 31 (set), found ${hex(byte)}`, 1);
  return byte === setMark;
}
