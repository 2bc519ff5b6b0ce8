// A FULL section's body: decoded by a description, and encoded again by the same.

import type { Description } from "../../vmstate/description.ts";
import { loadBody, saveBody } from "../../vmstate/engine.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { Reader } from "../../vmstate/wire/reader.ts";
import { Writer } from "../../vmstate/wire/writer.ts";
import type { DeviceState, FieldNode } from "../model.ts";
import { clip, pathTo, treeBuilder } from "./tree.ts";

type PlainDescription = Description<Record<string, unknown>>;

export interface DecodedBody {
  readonly fields: readonly FieldNode[];
  readonly state: Record<string, unknown> | undefined;
  /** Bytes that were understood. */
  readonly length: number;
  /** Where and in which field it failed. */
  readonly error: CprkitError | undefined;
}

/** Decodes what `body` begins with. What came before an error is in `fields`. Does not throw for wrong bytes. */
export function decodeBody(
  description: PlainDescription,
  body: Uint8Array,
  baseOffset: number,
  version = description.version,
): DecodedBody {
  const reader = new Reader({ bytes: body, baseOffset });
  const tree = treeBuilder();
  reader.observer = tree.observer;
  try {
    const state = loadBody(reader, description, version);
    return { fields: tree.finish(reader.offset), state, length: reader.pos, error: undefined };
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    return { fields: tree.finish(reader.offset), state: undefined, length: reader.pos, error };
  }
}

/** Bytes that may be made up for a body that was cut. */
const maxPadding = 1 << 20;

/**
 * Decodes what came of a body of `length` bytes that the input's end has cut. The missing bytes are made up, so that
 * an array that was cut shows the elements that came; what was made up is removed again. The error names the field
 * in which the cut is.
 */
export function decodeCut(
  description: PlainDescription,
  body: Uint8Array,
  length: number,
  baseOffset: number,
): { readonly fields: readonly FieldNode[]; readonly error: CprkitError } {
  const end = baseOffset + body.length;
  let whole = body;
  if (length - body.length <= maxPadding) {
    whole = new Uint8Array(length);
    whole.set(body);
  }
  const { fields, error } = decodeBody(description, whole, baseOffset);
  if (error !== undefined && isReal(error, body, baseOffset)) return { fields: clip(fields, end), error };
  const reason = `the input ends here: ${length - body.length} of the section's ${length} bytes are missing`;
  const cut = new CprkitError("ERR_EOF", reason, { offset: end });
  for (const name of pathTo(fields, end).reverse()) cut.within(name);
  return { fields: clip(fields, end), error: cut };
}

/** True for an error in the bytes themselves, not in those that were made up after them. */
function isReal(error: CprkitError, body: Uint8Array, baseOffset: number): boolean {
  if (error.code === "ERR_EOF" || error.code === "ERR_COUNT" || error.offset === undefined) return false;
  const at = error.offset - baseOffset;
  // The name of a subsection may be cut.
  const length = error.code === "ERR_UNKNOWN_SUBSECTION" ? 2 + (body[at + 1] ?? 255) : 1;
  return at + length <= body.length;
}

/**
 * Encodes a device's state again by its own description: from `device.state`, not from the bytes it came with, so a
 * changed value is written. Throws ERR_VALUE if the section was not decoded, or a value does not fit.
 */
export function encodeDevice(device: DeviceState): Uint8Array {
  const { description, state } = device;
  if (description === undefined || state === undefined) {
    throw new CprkitError("ERR_VALUE", "this section was not decoded: there is nothing to encode but its own bytes");
  }
  const writer = new Writer("passed", device.body.length + 16);
  saveBody(writer, description, state);
  return writer.finish().bytes;
}
