// Opens what the user named: a file, or standard input for "-".

import { closeSync, openSync, readSync } from "node:fs";
import { CprkitError } from "../vmstate/error.ts";

/** A CPR state is far smaller; anything longer is another file. */
const maxBytes = 64 * 1024 * 1024;

/** All bytes of `path`, or of standard input for "-". Throws ERR_FILE if it cannot be read, ERR_LIMIT above 64 MiB. */
export function readInput(path: string): Uint8Array {
  const fd = openInput(path);
  try {
    const chunks: Uint8Array[] = [];
    let length = 0;
    for (;;) {
      const chunk = new Uint8Array(64 * 1024);
      const count = readSome(fd, chunk, path);
      if (count === 0) break;
      chunks.push(chunk.subarray(0, count));
      length += count;
      if (length > maxBytes)
        throw new CprkitError("ERR_LIMIT", `${path} is longer than 64 MiB: no CPR state is`, { offset: maxBytes });
    }
    return Buffer.concat(chunks, length);
  } finally {
    if (fd !== 0) closeSync(fd);
  }
}

/** The first `length` bytes of a file, or fewer if it is shorter. */
export function readStart(path: string, length: number): Uint8Array {
  const fd = openInput(path);
  try {
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, readSome(fd, bytes, path));
  } finally {
    closeSync(fd);
  }
}

/** Opens `path`, or standard input for "-". Throws ERR_FILE. */
export function openInput(path: string): number {
  if (path === "-") return 0;
  try {
    return openSync(path, "r");
  } catch (cause) {
    throw cannotRead(path, cause);
  }
}

/** Reads what is there now, at least one byte; 0 at the end. Throws ERR_FILE. */
export function readSome(fd: number, chunk: Uint8Array, path: string): number {
  for (;;) {
    try {
      return readSync(fd, chunk);
    } catch (cause) {
      // A terminal or pipe that Node made non-blocking: nothing is there yet.
      if (cause instanceof Error && "code" in cause && cause.code === "EAGAIN") {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
        continue;
      }
      throw cannotRead(path, cause);
    }
  }
}

function cannotRead(path: string, cause: unknown): CprkitError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new CprkitError("ERR_FILE", `cannot read ${path === "-" ? "standard input" : path}: ${why}`, { cause });
}
