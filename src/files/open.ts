// A file, pipe or standard input as a source of a migration stream: it is opened, its first bytes are looked at, and the
// rest is read as the reader asks for it.

import { fstatSync } from "node:fs";
import type { ByteSource } from "../migration/index.ts";
import { cannotRead, closeInput, inputName, openInput, readParts, readSome } from "./read.ts";
import { tooLong } from "./too-long.ts";

/** How {@link openSource} opens. */
export interface OpenSourceOptions {
  /**
   * Where the stream begins, in bytes (QEMU's `file:PATH,offset=N`). Default 0. Only `start` depends on it: give
   * `readMigration` the same offset.
   */
  readonly offset?: number | undefined;
}

/** What {@link openSource} opened: a file that can be read at any place, or a pipe that gives its bytes once. */
export type OpenSource = OpenFile | OpenPipe;

/** A regular file. */
export interface OpenFile extends OpenInput {
  /** Tells it from a pipe. */
  readonly kind: "file";
  /** Length in bytes when it was opened. */
  readonly size: number;
  /** For `readMigration` and `encodeMigration`. Reading throws ERR_FILE. */
  readonly source: ByteSource;
  /** Up to `length` bytes from `offset` on; fewer at the end. Throws ERR_FILE. */
  bytesAt(offset: number, length: number): Uint8Array;
}

/** A pipe, socket or terminal. */
export interface OpenPipe extends OpenInput {
  /** Tells it from a file. */
  readonly kind: "pipe";
  /** Unknown. */
  readonly size: undefined;
  /**
   * For `readMigration`: the bytes from the first on, in chunks of at most 1 MiB, each valid until the next is asked
   * for. Can be read once. While it waits for bytes, so does the process: its events wait, too. Reading throws ERR_FILE.
   */
  readonly source: AsyncIterable<Uint8Array>;
}

/** What a file and a pipe have in common. */
export interface OpenInput {
  /** What was named: a path, or "-". */
  readonly path: string;
  /** The stream's first bytes, at most 8: they show which kind of stream it is. Fewer if the input is shorter. */
  readonly start: Uint8Array;
  /**
   * All bytes from the first on. Of a pipe only once, and instead of `source`. Throws ERR_LIMIT if there are more than
   * `limit`, ERR_FILE if they cannot be read.
   */
  all(limit: number): Uint8Array;
  /** Closes the file; standard input stays open. A second call does nothing. Reading throws ERR_FILE afterwards. */
  close(): void;
  /** Calls `close`, for `using`. */
  [Symbol.dispose](): void;
  /** Calls `close`, for `await using` and what else takes an AsyncDisposable. */
  [Symbol.asyncDispose](): Promise<void>;
}

const chunkSize = 1 << 20;
const startSize = 8;

/**
 * Opens the file or named pipe `path`, or standard input for "-", as a source for `readMigration`. The caller closes it.
 *
 * Of a pipe the first bytes are read at once, so this waits until they are there. Throws ERR_FILE if it cannot be opened
 * or read.
 */
export function openSource(path: string, options: OpenSourceOptions = {}): OpenSource {
  const { offset = 0 } = options;
  const fd = openInput(path);
  let closed = false;
  const input: Input = {
    path,
    read: (target, position) => {
      if (closed) throw cannotRead(path, "it was closed");
      return readSome(fd, target, path, position);
    },
    parts: (before, limits) => {
      if (closed) throw cannotRead(path, "it was closed");
      return readParts(fd, path, { before, ...limits });
    },
    // The number of an fd that is closed may soon be that of another file: it must not be closed twice.
    close: () => {
      if (!closed) closeInput(fd);
      closed = true;
    },
  };
  try {
    const stat = fstatSync(fd);
    return stat.isFile() ? openFile(input, offset, stat.size) : openPipe(input, offset);
  } catch (error) {
    input.close();
    throw error;
  }
}

interface Input {
  readonly path: string;
  read(target: Uint8Array, position?: number): number;
  parts(before: Uint8Array, limits: { readonly enough?: number; readonly limit?: number }): Uint8Array;
  close(): void;
}

function openFile(input: Input, offset: number, size: number): OpenFile {
  const bytesAt = (at: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, size - at)));
    return bytes.subarray(0, input.read(bytes, at));
  };
  return {
    kind: "file",
    size,
    source: { size, read: (at, target) => input.read(target, at) },
    bytesAt,
    all: (limit) => {
      if (size > limit) throw tooLong(inputName(input.path), limit);
      return bytesAt(0, size);
    },
    start: bytesAt(offset, startSize),
    ...closing(input),
  };
}

function openPipe(input: Input, offset: number): OpenPipe {
  const first = input.parts(new Uint8Array(0), { enough: offset + startSize });
  const chunks = async function* (): AsyncGenerator<Uint8Array, void, void> {
    if (first.length > 0) yield first;
    const chunk = new Uint8Array(chunkSize);
    for (let got = input.read(chunk); got > 0; got = input.read(chunk)) yield chunk.subarray(0, got);
  };
  return {
    kind: "pipe",
    size: undefined,
    source: chunks(),
    all: (limit) => input.parts(first, { limit }),
    start: first.subarray(offset, offset + startSize),
    ...closing(input),
  };
}

type Closing = Pick<OpenInput, "path" | "close" | typeof Symbol.dispose | typeof Symbol.asyncDispose>;

function closing({ path, close }: Input): Closing {
  return { path, close, [Symbol.dispose]: close, [Symbol.asyncDispose]: async () => close() };
}
