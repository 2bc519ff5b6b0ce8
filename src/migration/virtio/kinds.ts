// Field kinds that only virtio has.

import { type Description, describe } from "../../vmstate/description.ts";
import { located } from "../../vmstate/engine.ts";
import { type AnyField, type Field, misfit, type NamedField } from "../../vmstate/types.ts";
import type { Reader } from "../../vmstate/wire/reader.ts";
import { Writer } from "../../vmstate/wire/writer.ts";
import { virtioFeatures } from "./features.ts";

/** A description of which no type is known, as of one that comes out of a stream's JSON. */
export type PlainDescription = Description<Record<string, unknown>>;

/** A description from its parts; a subsection's key is its name, as it is from a stream's JSON. */
export function plain(
  name: string,
  version: number,
  fields: Readonly<Record<string, AnyField>>,
  inside: readonly PlainDescription[] = [],
): PlainDescription {
  return describe({
    name,
    version,
    minimumVersion: 0,
    fields: named(fields),
    subsections: inside.map((description) => ({ key: description.name, description })),
  });
}

/** Fields in the order of their names in `fields`. */
export function named(fields: Readonly<Record<string, AnyField>>): NamedField[] {
  return Object.entries(fields).map(([name, field]) => ({ name, field }));
}

/**
 * Feature bits as `number` has them, the lowest of which is bit `first` of all. An observer sees the number as "bits", and
 * each feature that is set by its name.
 */
export function featureBits<T extends number | bigint>(device: string, number: Field<T>, first = 0): Field<T> {
  return {
    ...number,
    load: (reader, current, siblings) => {
      const { observer } = reader;
      observer?.enter("bits", number.type, reader.offset);
      const value = number.load(reader, current, siblings);
      observer?.leave(reader.offset, value);
      if (observer === undefined) return value;
      for (const { name } of virtioFeatures(device, BigInt(value) << BigInt(first))) {
        observer.enter(name, "feature", reader.offset);
        observer.leave(reader.offset, true);
      }
      return value;
    },
  };
}

/** 32 bits, little-endian: what QEMU copies out of its memory. */
export function littleUint32(): Field<number> {
  return {
    type: "little-endian uint32",
    size: 4,
    load: (reader) => swap(reader.uint32()),
    save: (writer, value) => {
      if (typeof value !== "number" || value >>> 0 !== value) throw misfit("an integer from 0 to 4294967295", value);
      writer.uint32(swap(value));
    },
  };
}

function swap(value: number): number {
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}

/**
 * `length` elements of `size` bytes each, of which the last ones are alike: QEMU writes all 1,024 queues that a device could
 * have. The value has the elements up to the first of those at the end that are the same; it stands for all of them, and an
 * observer sees it as "others".
 */
export function alikeAtEnd(element: Field<Record<string, unknown>>, size: number, length: number): AnyField {
  const load = (reader: Reader) => {
    const total = size * length;
    if (reader.remaining < total) throw reader.eof(total);
    const different = alikeFrom(reader.bytes.subarray(reader.pos, reader.pos + total), size, length);
    const elements: Record<string, unknown>[] = [];
    try {
      for (let at = 0; at <= different; at++) {
        const isLast = at === different;
        const within = element.descriptions?.[0]?.name;
        reader.observer?.enter(isLast ? "others" : at, element.type, reader.offset, within);
        elements.push(element.load(reader, undefined, {}));
        if (isLast) reader.pos += size * (length - different - 1);
        reader.observer?.leave(reader.offset, elements[at]);
      }
    } catch (error) {
      throw located(error, elements.length);
    }
    return elements;
  };
  const field: Field<Record<string, unknown>[]> = {
    type: element.type,
    size: size * length,
    descriptions: element.descriptions,
    load,
    save: (writer, value) => {
      if (!Array.isArray(value) || value.length < 1 || value.length > length)
        throw misfit(`an array of 1 to ${length}`, value);
      for (const one of value) element.save(writer, one, {});
      const last = new Writer("passed", size);
      element.save(last, value[value.length - 1] as Record<string, unknown>, {});
      const { bytes } = last.finish();
      const rest = new Uint8Array(size * (length - value.length));
      for (let at = 0; at < rest.length; at += size) rest.set(bytes, at);
      writer.buffer(rest);
    },
  };
  return field as AnyField;
}

/** Index of the first element from which on all are the same bytes. */
function alikeFrom(bytes: Uint8Array, size: number, length: number): number {
  let at = bytes.length - size - 1;
  while (at >= 0 && bytes[at] === bytes[at + size]) at--;
  return at < 0 ? 0 : Math.min(length - 1, Math.floor(at / size) + 1);
}
