// Where reading has come to: a file that can be read at any place, or bytes that come once; and where in it to go on.

import type { ByteSource } from "../../migration/index.ts";

/** What is left to look into. */
export type Stage = PlacedStage | PassingStage;

/** Bytes that can be read at any place. */
interface PlacedStage {
  readonly kind: "placed";
  readonly source: ByteSource;
  /** Where to go on. */
  readonly offset: number;
}

/** Bytes that come once. */
interface PassingStage {
  readonly kind: "passing";
  readonly chunks: Rewindable;
  /** Where to go on: bytes before are skipped. */
  readonly offset: number;
}

/** Chunks of which the first can be looked at before they are read. */
export interface Rewindable extends AsyncIterable<Uint8Array> {
  /** The first `count` bytes, fewer if there are not more; they are kept for the reader. */
  peek(count: number): Promise<Uint8Array>;
}

const chunkSize = 64 * 1024;

export function rewindable(chunks: AsyncIterable<Uint8Array>): Rewindable {
  const iterator = chunks[Symbol.asyncIterator]();
  let kept = new Uint8Array(0);
  let used = 0;
  return {
    peek: async (count) => {
      while (used < count) {
        const next = await iterator.next();
        if (next.done === true) break;
        if (used + next.value.length > kept.length) {
          const more = new Uint8Array(Math.max(used + next.value.length, kept.length * 2));
          more.set(kept.subarray(0, used));
          kept = more;
        }
        kept.set(next.value, used);
        used += next.value.length;
      }
      return kept.subarray(0, Math.min(count, used));
    },
    async *[Symbol.asyncIterator]() {
      try {
        const first = kept.subarray(0, used);
        kept = new Uint8Array(0);
        if (used > 0) yield first;
        for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
      } finally {
        await iterator.return?.();
      }
    },
  };
}

/** Up to `count` bytes from the stage's place on. */
export async function peek(stage: Stage, count: number): Promise<Uint8Array> {
  if (stage.kind === "passing") return (await stage.chunks.peek(stage.offset + count)).subarray(stage.offset);
  return await bytesAt(stage.source, stage.offset, count);
}

/** Up to `count` bytes from `offset` on; fewer at the end. */
export async function bytesAt(source: ByteSource, offset: number, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.max(0, Math.min(count, source.size - offset)));
  let used = 0;
  while (used < bytes.length) {
    const got = await source.read(offset + used, bytes.subarray(used));
    if (got === 0) break;
    used += got;
  }
  return bytes.subarray(0, used);
}

/** The same at once, of a source that answers at once, as files do: fewer bytes from another. */
export function bytesAtOnce(source: ByteSource): (offset: number, count: number) => Uint8Array {
  return (offset, count) => {
    const bytes = new Uint8Array(Math.max(0, Math.min(count, source.size - offset)));
    let used = 0;
    while (used < bytes.length) {
      const got = source.read(offset + used, bytes.subarray(used));
      if (typeof got !== "number" || got === 0) break;
      used += got;
    }
    return bytes.subarray(0, used);
  };
}

/** The bytes from the stage's place on; each chunk is the taker's own. */
export async function* chunksOf(stage: Stage): AsyncGenerator<Uint8Array, void, void> {
  if (stage.kind === "placed") {
    for (let at = stage.offset; ; at += chunkSize) {
      const chunk = await bytesAt(stage.source, at, chunkSize);
      if (chunk.length > 0) yield chunk;
      if (chunk.length < chunkSize) return;
    }
  }
  let skip = stage.offset;
  for await (const chunk of stage.chunks) {
    const rest = chunk.subarray(Math.min(skip, chunk.length));
    skip -= chunk.length - rest.length;
    for (let at = 0; at < rest.length; at += chunkSize) yield rest.slice(at, at + chunkSize);
  }
}
