// What was compressed, as it was: each decoder is loaded when it is needed, works in constant memory, and stops when nobody
// reads on.

import { createRequire } from "node:module";
import { Readable, type Transform } from "node:stream";
import * as zlib from "node:zlib";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { type Compression, problemOf } from "./compression.ts";
import type { Decompressed } from "./peel.ts";
import { chunksOf, type Stage } from "./stage.ts";

/** Decompresses what is at the stage's place. */
export function decompress(name: Compression, stage: Stage): Decompressed {
  let problem: CprkitError | undefined;
  const go = async function* (): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* decoders[name](chunksOf(stage));
    } catch (error) {
      // The system's own errors, such as a disk that cannot be read, are not the stream's.
      if (isCprkitError(error) && error.code === "ERR_FILE") throw error;
      problem = problemOf(name, error);
    }
  };
  return { chunks: go(), problem: () => problem };
}

type Decoder = (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;

const decoders: Readonly<Record<Compression, Decoder>> = {
  gzip: (chunks) => through(zlib.createGunzip({ chunkSize: outSize }), chunks),
  zstd: unzstd,
  async *xz(chunks) {
    const { XzReadableStream } = freshXz();
    yield* iterate(new XzReadableStream(webStream(chunks)));
  },
  async *lz4(chunks) {
    yield* (await import("./lz4.ts")).unlz4(chunks);
  },
  async *bzip2(chunks) {
    yield* (await import("./bzip2.ts")).bunzip2(chunks);
  },
  async *lzop(chunks) {
    yield* (await import("./lzop.ts")).unlzop(chunks);
  },
};

const outSize = 256 * 1024;

async function* through(transform: Transform, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = Readable.from(chunks, { objectMode: false });
  source.on("error", (error) => transform.destroy(error));
  try {
    for await (const chunk of source.pipe(transform)) yield chunk as Uint8Array;
  } finally {
    source.destroy();
    transform.destroy();
  }
}

/** Node's own from 22.15 on; before, fzstd, which refuses windows of more than 32 MiB. */
async function* unzstd(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const own = "createZstdDecompress" in zlib ? zlib.createZstdDecompress : undefined;
  if (typeof own === "function") {
    yield* through(Reflect.apply(own, undefined, [{ chunkSize: outSize }]) as Transform, chunks);
    return;
  }
  const { Decompress } = await import("fzstd");
  const ready: Uint8Array[] = [];
  let ended = true;
  const decoder = new Decompress((data, final) => {
    if (data.length > 0) ready.push(data);
    ended = final === true;
  });
  for await (const chunk of chunks) {
    // A few bytes may stand for 128 KiB: a small part at a time bounds what waits here.
    for (let at = 0; at < chunk.length; at += zstdStep) {
      decoder.push(chunk.subarray(at, at + zstdStep));
      for (const data of ready.splice(0)) yield data;
    }
  }
  decoder.push(new Uint8Array(0), true);
  yield* ready;
  if (!ended) throw new CprkitError("ERR_EOF", "the input ends in a block of zstd");
}

const zstdStep = 512;

/** A copy of the decoder for each use: one copy serves one input at a time, and the next would wait for its end. */
function freshXz(): typeof import("xz-decompress") {
  const require = createRequire(import.meta.url);
  const path = require.resolve("xz-decompress");
  delete require.cache[path];
  return require(path) as typeof import("xz-decompress");
}

function webStream(chunks: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const next = await iterator.next();
      if (next.done === true) controller.close();
      else controller.enqueue(next.value);
    },
    cancel: async () => {
      await iterator.return?.();
    },
  });
}

async function* iterate(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  let ended = false;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
    ended = true;
  } finally {
    if (!ended) await reader.cancel().catch(() => {});
  }
}
