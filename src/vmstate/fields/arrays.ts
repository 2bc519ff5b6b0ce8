// Arrays: elements back to back, without a count of their own on the wire.

import { located } from "../engine.ts";
import { CprkitError } from "../error.ts";
import type { Siblings } from "../facts.ts";
import { withRecipe } from "../recipes.ts";
import { fieldMinimum, maxEmptyElements } from "../sizes.ts";
import { type Field, misfit, siblingCount } from "../types.ts";
import type { Reader } from "../wire/reader.ts";
import type { Writer } from "../wire/writer.ts";

/** `length` elements (VMSTATE_UINT32_ARRAY, VMSTATE_STRUCT_ARRAY and the like, for any kind of element). */
export function array<T>(element: Field<T>, length: number): Field<T[]> {
  checkNumber("an array's length", length);
  if (fieldMinimum(element) === 0 && length > maxEmptyElements)
    throw new CprkitError(
      "ERR_DESCRIPTION",
      `${length} elements that may take no bytes: more than ${maxEmptyElements} are not loaded`,
    );
  return withRecipe(
    { kind: "array", element, count: length, times: 1 },
    {
      ...shape(element),
      length,
      size: element.size === undefined ? undefined : element.size * length,
      minimum: fieldMinimum(element) * length,
      load: (reader, current, siblings) => loadElements(reader, element, length, current, siblings),
      save: (writer, value, siblings) => saveElements(writer, element, length, value, siblings),
    },
  );
}

/** Rows of columns (VMSTATE_UINT8_2DARRAY and the like); on the wire one array, row after row. */
export function array2d<T>(element: Field<T>, rows: number, columns: number): Field<T[][]> {
  return array(array(element, columns), rows);
}

/** Options of {@link varray}. */
export interface VarrayOptions {
  /** The count on the wire is multiplied by this (VMS_MULTIPLY_ELEMENTS). Default 1. */
  readonly times?: number;
}

/**
 * As many elements as the field `countField`, which must come before it, says (VMSTATE_VARRAY_*,
 * VMSTATE_STRUCT_VARRAY_*). The count may be of any integer kind. Throws ERR_LIMIT when it is negative or
 * 2^31 and more, ERR_COUNT when the rest of the input cannot hold so many.
 */
export function varray<T>(countField: string, element: Field<T>, { times = 1 }: VarrayOptions = {}): Field<T[]> {
  checkNumber("a count's multiplier", times);
  return withRecipe(
    { kind: "array", element, count: countField, times },
    {
      ...shape(element),
      needs: [countField],
      load: (reader, current, siblings) =>
        loadElements(reader, element, siblingCount(siblings, countField, reader) * times, current, siblings),
      save: (writer, value, siblings) =>
        saveElements(writer, element, siblingCount(siblings, countField) * times, value, siblings),
    },
  );
}

/** What an array tells tools of its elements. */
export function shape<T>(
  element: Field<T>,
): Pick<Field<T[]>, "type" | "descriptions" | "optional" | "compressible"> & { readonly sequence: "array" } {
  return {
    type: element.type,
    descriptions: element.descriptions,
    optional: element.optional,
    compressible: element.compressible,
    sequence: "array",
  };
}

/** Throws unless the rest of the input can hold `count` elements: before anything is allocated for them. */
export function checkCount(reader: Reader, count: number, minimum: number): void {
  if (minimum === 0 ? count > maxEmptyElements : count * minimum > reader.remaining) {
    const holds = minimum === 0 ? `${maxEmptyElements} that may take none` : `${reader.remaining} bytes follow`;
    throw reader.error("ERR_COUNT", `${count} elements take ${count * minimum} bytes at least, but only ${holds}`);
  }
}

function loadElements<T>(
  reader: Reader,
  element: Field<T>,
  count: number,
  current: readonly T[] | undefined,
  siblings: Siblings,
): T[] {
  checkCount(reader, count, fieldMinimum(element));
  const elements: T[] = [];
  const within = element.descriptions?.length === 1 ? element.descriptions[0]?.name : undefined;
  try {
    if (reader.observer === undefined && current === undefined)
      while (elements.length < count) elements.push(element.load(reader, undefined, siblings));
    while (elements.length < count) {
      const at = elements.length;
      reader.observer?.enter(at, element.type, reader.offset, within);
      elements.push(element.load(reader, current?.[at], siblings));
      reader.observer?.leave(reader.offset, elements[at]);
    }
  } catch (error) {
    throw located(error, elements.length);
  }
  return elements;
}

function saveElements<T>(
  writer: Writer,
  element: Field<T>,
  count: number,
  value: readonly T[] | undefined,
  siblings: Siblings,
): void {
  if (element.optional ? value !== undefined && !Array.isArray(value) : !Array.isArray(value))
    throw misfit(`an array of ${count}`, value);
  if (value !== undefined && value.length !== count) throw misfit(`an array of ${count}`, value);
  if (count > maxEmptyElements && fieldMinimum(element) === 0)
    throw misfit(`at most ${maxEmptyElements} elements, which may take no bytes`, value);
  let at = 0;
  try {
    for (; at < count; at++) {
      const part = value?.[at];
      if (part === undefined && !element.optional) throw misfit("a value", part);
      writer.observer?.enterElement("value", writer.pos);
      // An optional kind takes undefined: that is what `optional` says.
      element.save(writer, part as T, siblings);
      writer.observer?.leaveElement(writer.pos);
    }
  } catch (error) {
    throw located(error, at);
  }
}

/** Throws ERR_DESCRIPTION unless `value` is an integer from 0 to `max`, by default 2^31-1. */
export function checkNumber(what: string, value: number, max = 0x7fff_ffff): void {
  if (!Number.isInteger(value) || value < 0 || value > max)
    throw new CprkitError("ERR_DESCRIPTION", `${what} must be an integer from 0 to ${max}, not ${value}`);
}
