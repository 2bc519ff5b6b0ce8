// What was compressed, as it was, with what a browser has: gzip is the browser's own, the rest comes with the page.

import { Decompress as Unzstd } from "fzstd";
import { XzReadableStream } from "xz-decompress";
import { bunzip2 } from "../../files/unwrap/bzip2.ts";
import { type Compression, problemOf } from "../../files/unwrap/compression.ts";
import { unlz4 } from "../../files/unwrap/lz4.ts";
import { unlzop } from "../../files/unwrap/lzop.ts";
import type { Decompressed } from "../../files/unwrap/peel.ts";
import { chunksOf, type Stage } from "../../files/unwrap/stage.ts";
import { CprkitError } from "../../vmstate/error.ts";

/** Decompresses what is at the stage's place. */
export async function decompress(name: Compression, stage: Stage): Promise<Decompressed> {
  let problem: CprkitError | undefined;
  const go = async function* (): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* decoders[name](chunksOf(stage));
    } catch (error) {
      problem = problemOf(name, error);
    }
  };
  return { chunks: go(), problem: () => problem };
}

type Decoder = (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;

const decoders: Readonly<Record<Compression, Decoder>> = {
  async *gzip(chunks) {
    yield* iterate(stream(chunks).pipeThrough(new DecompressionStream("gzip")));
  },
  zstd: unzstd,
  async *xz(chunks) {
    yield* iterate(new XzReadableStream(stream(chunks)));
  },
  lz4: unlz4,
  bzip2: bunzip2,
  lzop: unlzop,
};

/** A few bytes may stand for 128 KiB: a small part at a time bounds what waits. */
const zstdStep = 512;

async function* unzstd(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const ready: Uint8Array[] = [];
  let ended = true;
  const decoder = new Unzstd((data, final) => {
    if (data.length > 0) ready.push(data);
    ended = final === true;
  });
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += zstdStep) {
      decoder.push(chunk.subarray(at, at + zstdStep));
      yield* ready.splice(0);
    }
  }
  decoder.push(new Uint8Array(0), true);
  yield* ready;
  if (!ended) throw new CprkitError("ERR_EOF", "the input ends in a block of zstd");
}

function stream(chunks: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array<ArrayBuffer>> {
  const iterator = chunks[Symbol.asyncIterator]();
  return new ReadableStream({
    pull: async (controller) => {
      const next = await iterator.next();
      if (next.done === true) controller.close();
      else controller.enqueue(next.value as Uint8Array<ArrayBuffer>);
    },
    cancel: async () => {
      await iterator.return?.();
    },
  });
}

async function* iterate(from: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = from.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}
