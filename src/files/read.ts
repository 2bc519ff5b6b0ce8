// Reads what the user named by its path, or standard input for "-", and says in one line why it cannot be read.

import { closeSync, openSync, readSync } from "node:fs";
import { CprkitError } from "../vmstate/error.ts";
import { tooLong } from "./too-long.ts";

/**
 * All bytes of the file `path`, or of standard input for "-". Throws ERR_FILE if it cannot be read, ERR_LIMIT if it has
 * more than `limit` bytes.
 */
export function readWhole(path: string, limit: number): Uint8Array {
  const fd = openInput(path);
  try {
    return readParts(fd, path, { limit });
  } finally {
    closeInput(fd);
  }
}

interface ReadPartsOptions {
  /** Bytes that were read before; they count. */
  readonly before?: Uint8Array;
  /** Stop when this many bytes are there. Default: at the end. */
  readonly enough?: number;
  /** More bytes than this are refused. Default: no limit. */
  readonly limit?: number;
}

/** Reads `fd` in parts and joins them, keeping no more than came. Throws ERR_FILE, ERR_LIMIT. */
export function readParts(fd: number, path: string, options: ReadPartsOptions): Uint8Array {
  const { before = new Uint8Array(0), enough = Number.POSITIVE_INFINITY, limit = Number.POSITIVE_INFINITY } = options;
  const parts = [before];
  const chunk = new Uint8Array(64 * 1024);
  let length = before.length;
  for (;;) {
    if (length > limit) throw tooLong(inputName(path), limit);
    const count = length < enough ? readSome(fd, chunk, path) : 0;
    if (count === 0) break;
    // A copy: a pipe may give single bytes, and each must not hold a whole chunk.
    parts.push(chunk.slice(0, count));
    length += count;
  }
  return Buffer.concat(parts, length);
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

/** Standard input stays open: it belongs to the process. */
export function closeInput(fd: number): void {
  if (fd !== 0) closeSync(fd);
}

/**
 * Reads what is there now, at least one byte; 0 at the end. With `position`, from there; else where the last read
 * ended. Throws ERR_FILE.
 */
export function readSome(fd: number, chunk: Uint8Array, path: string, position: number | null = null): number {
  for (;;) {
    try {
      return readSync(fd, chunk, 0, chunk.length, position);
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

/** How a message names `path`. */
export function inputName(path: string): string {
  return path === "-" ? "standard input" : path;
}

/** What the system said: "no such file or directory (ENOENT)". */
export function systemReason(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  const [, code, reason] = /^(E[A-Z0-9]+): ([^,]+)/.exec(message) ?? [];
  return code === undefined || reason === undefined ? message : `${reason} (${code})`;
}

/** ERR_FILE for what the system said, or for a reason in words. */
export function cannotRead(path: string, cause: unknown): CprkitError {
  // Node replaces what is not UTF-8 in its arguments; the shell can still open such a file.
  const lost = path.includes("\ufffd")
    ? '; a name that is not UTF-8 cannot be given: use "-" and redirect the file'
    : "";
  return new CprkitError("ERR_FILE", `cannot read ${inputName(path)}: ${systemReason(cause)}${lost}`, { cause });
}
