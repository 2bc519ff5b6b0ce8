// Opens a stream of unknown length: a file that can be read at any place, or a pipe of which the first bytes were seen.

import { closeSync, fstatSync, readSync } from "node:fs";
import type { MigrationSource } from "../../migration/index.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { openInput, readParts, readSome, tooLong } from "./file.ts";

export interface StreamInput {
  /** What the user named: a path, or "-". */
  readonly path: string;
  /** The stream's first bytes, at most 8; what they are decides who reads it. */
  readonly start: Uint8Array;
  /** A file's length; undefined for a pipe. */
  readonly size: number | undefined;
  readonly source: MigrationSource;
  /** Bytes from `offset` on, of a file. Throws ERR_USAGE for a pipe, which gives its bytes only once. */
  bytesAt(offset: number, length: number): Uint8Array;
  /** All bytes; throws ERR_LIMIT above `limit`. For a pipe, only once and instead of `source`. */
  all(limit: number): Uint8Array;
  close(): void;
}

interface StreamPair {
  readonly inputs: readonly [StreamInput, StreamInput];
  close(): void;
}

const chunkSize = 1 << 20;

/** Opens `path`, or standard input for "-". `offset`: where the stream begins in it. Throws ERR_FILE. */
export function openStream(path: string, offset = 0): StreamInput {
  const fd = openInput(path);
  const close = () => {
    if (fd !== 0) closeSync(fd);
  };
  try {
    return fstatSync(fd).isFile() ? openFile(path, fd, offset, close) : openPipe(path, fd, offset, close);
  } catch (error) {
    close();
    throw error;
  }
}

/** Opens two streams that are to be compared. `close` closes both. Throws ERR_FILE; ERR_USAGE if both are "-". */
export function openStreams(first: string, second: string, offset = 0): StreamPair {
  if (first === "-" && second === "-") {
    throw new CprkitError("ERR_USAGE", 'standard input ("-") holds one stream, and two are compared: name a file');
  }
  const a = openStream(first, offset);
  try {
    const b = openStream(second, offset);
    const close = () => {
      a.close();
      b.close();
    };
    return { inputs: [a, b], close };
  } catch (error) {
    a.close();
    throw error;
  }
}

/** Whether a stream begins with this magic. */
export function startsWith(start: Uint8Array, magic: string): boolean {
  return Buffer.from(start.subarray(0, magic.length)).toString("latin1") === magic;
}

function openFile(path: string, fd: number, offset: number, close: () => void): StreamInput {
  const { size } = fstatSync(fd);
  const read = (at: number, target: Uint8Array): number => readSync(fd, target, 0, target.length, at);
  const bytesAt = (at: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, size - at)));
    return bytes.subarray(0, read(at, bytes));
  };
  return {
    path,
    start: bytesAt(offset, 8),
    size,
    source: { size, read },
    bytesAt,
    all: (limit) => {
      if (size > limit) throw tooLong(path, limit);
      return bytesAt(0, size);
    },
    close,
  };
}

function openPipe(path: string, fd: number, offset: number, close: () => void): StreamInput {
  const first = readParts(fd, path, { enough: offset + 8 });
  const chunks = async function* (): AsyncGenerator<Uint8Array, void, void> {
    if (first.length > 0) yield first;
    const chunk = new Uint8Array(chunkSize);
    for (let got = readSome(fd, chunk, path); got > 0; got = readSome(fd, chunk, path)) yield chunk.subarray(0, got);
  };
  return {
    path,
    start: first.subarray(offset, offset + 8),
    size: undefined,
    source: chunks(),
    bytesAt: () => {
      throw new CprkitError("ERR_USAGE", "this needs a file: a pipe gives its bytes only once");
    },
    all: (limit) => readParts(fd, path, { before: first, limit }),
    close,
  };
}
