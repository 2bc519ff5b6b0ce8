// A FULL section's body: decoded by a description, and encoded again by the same.

import type { Description } from "../vmstate/description.ts";
import { loadBody, saveBody } from "../vmstate/engine.ts";
import { CprkitError, isCprkitError } from "../vmstate/error.ts";
import { Reader } from "../vmstate/reader.ts";
import { Writer } from "../vmstate/writer.ts";
import type { DeviceState, FieldNode } from "./model.ts";
import { treeBuilder } from "./tree.ts";

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
