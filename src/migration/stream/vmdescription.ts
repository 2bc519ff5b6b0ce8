// Finding the JSON description: it is at the stream's end, but is needed from the first device on.

import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { parseVmdesc, type Vmdesc } from "../../vmstate/vmdesc/read.ts";
import { decodeText } from "../../vmstate/wire/text.ts";
import { deviceKind } from "../device/kinds.ts";
import type { Vmdescription } from "../model.ts";
import { item } from "./constants.ts";
import type { ByteSource } from "./source.ts";
import { has, type Step, type Window } from "./window.ts";

/** The description that a stream carries. */
export interface FoundDescription {
  readonly vmdescription: Vmdescription;
  /** Undefined if the JSON is damaged. */
  readonly vmdesc: Vmdesc | undefined;
  readonly problem: CprkitError | undefined;
}

/** How far from the end it is looked for, and how much of a pipe is kept while waiting for it. */
const reach = 64 * 1024 * 1024;
/** Places that look like the start of the JSON and are not: with more than this, somebody made them on purpose. */
const maxAttempts = 16;
const chunkSize = 1024 * 1024;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * Looks for the JSON that ends where the source ends: 06, be32 length, `{`. The script of QEMU looks for the first
 * brace after the last NUL byte, which fails when a byte of the length is 7b.
 */
export function locateDescription(
  source: ByteSource,
  start: number,
): FoundDescription | undefined | Promise<FoundDescription | undefined> {
  const steps = locate(source.size, start);
  const go = (bytes?: Uint8Array): FoundDescription | undefined | Promise<FoundDescription | undefined> => {
    let next = bytes === undefined ? steps.next() : steps.next(bytes);
    while (next.done !== true) {
      const read = readAt(source, next.value.offset, next.value.length);
      if (!(read instanceof Uint8Array)) return read.then(go);
      next = steps.next(read);
    }
    return next.value;
  };
  return go();
}

interface Range {
  readonly offset: number;
  readonly length: number;
}

function* locate(size: number, start: number): Generator<Range, FoundDescription | undefined, Uint8Array> {
  const first = Math.max(start, size - reach);
  for (let end = size; end > first; end -= chunkSize) {
    const offset = Math.max(first, end - chunkSize);
    // Six more bytes: a mark at the chunk's end is followed by its length and brace.
    const bytes = yield { offset, length: Math.min(size, end + 6) - offset };
    for (
      let at = bytes.lastIndexOf(item.description);
      at >= 0;
      at = at === 0 ? -1 : bytes.lastIndexOf(item.description, at - 1)
    ) {
      if (bytes[at + 5] !== openBrace) continue;
      const length = lengthAt(bytes, at + 1);
      if (offset + at + 5 + length !== size) continue;
      const json = yield { offset: offset + at + 5, length };
      if (json.length < length || json[length - 1] !== closeBrace) continue;
      return found(json, offset + at);
    }
  }
  return undefined;
}

/**
 * Looks for the JSON in what follows the window's place, as far as it may be kept: for pipes, and for files that continue
 * after the stream. The window's place stays. Undefined if it is not there.
 */
export function* seekDescription(w: Window): Step<FoundDescription | undefined> {
  yield* has(w, reach);
  let attempts = 0;
  for (let at = w.pos; attempts < maxAttempts; at++) {
    at = w.bytes.indexOf(item.description, at);
    if (at < 0 || at + 7 > w.end) return undefined;
    // The end byte must come before it.
    if (w.bytes[at - 1] !== item.end || w.bytes[at + 5] !== openBrace) continue;
    const end = at + 5 + lengthAt(w.bytes, at + 1);
    if (end > w.end || w.bytes[end - 1] !== closeBrace) continue;
    const result = found(w.bytes.subarray(at + 5, end), w.base + at);
    if (result.vmdesc !== undefined) return result;
    attempts += 1;
  }
  return undefined;
}

/** Reads JSON that begins at `offset + 5`. Does not throw for damaged JSON. */
export function found(json: Uint8Array, offset: number): FoundDescription {
  const vmdescription = { offset, size: 5 + json.length, text: decodeText(json, 0, json.length) };
  try {
    return { vmdescription, vmdesc: parseVmdesc(vmdescription.text, deviceKind), problem: undefined };
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    const problem = new CprkitError(error.code, error.reason, {
      offset: offset + 5 + (error.offset ?? 0),
      cause: error,
    });
    return { vmdescription, vmdesc: undefined, problem: problem.within("VMDESCRIPTION") };
  }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) * 0x100_0000 +
    (((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number))
  );
}

/** Bytes from `offset` on; fewer at the end. Never more than the source has. */
function readAt(source: ByteSource, offset: number, length: number): Uint8Array | Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.max(0, Math.min(length, source.size - offset)));
  let at = 0;
  const go = (): Uint8Array | Promise<Uint8Array> => {
    while (at < bytes.length) {
      const got = source.read(offset + at, bytes.subarray(at));
      if (typeof got !== "number") {
        return got.then((count) => {
          at += count;
          return count === 0 ? bytes.subarray(0, at) : go();
        });
      }
      if (got === 0) break;
      at += got;
    }
    return bytes.subarray(0, at);
  };
  return go();
}
