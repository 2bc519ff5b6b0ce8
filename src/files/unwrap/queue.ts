// Compressed bytes as a decoder wants them: as many in one piece as it asks for, and no more kept than that.

import { CprkitError } from "../../vmstate/error.ts";

/** Bytes that wait to be decoded. A decoder reads `bytes` from `pos` up to `end`, and moves `pos` on. */
export interface Queue {
  bytes: Uint8Array;
  pos: number;
  end: number;
  /** False once no more bytes come. */
  open: boolean;
}

/** A queue that is filled from `chunks`, whose chunks may be used again, and the way to fill it. */
export function queueOf(chunks: AsyncIterable<Uint8Array>): {
  readonly queue: Queue;
  /** Makes `count` bytes available if the input has them; says whether it has. */
  fill(count: number): Promise<boolean>;
  close(): Promise<void>;
} {
  const iterator = chunks[Symbol.asyncIterator]();
  const queue: Queue = { bytes: new Uint8Array(0), pos: 0, end: 0, open: true };
  return {
    queue,
    fill: async (count) => {
      while (queue.end - queue.pos < count && queue.open) {
        const next = await iterator.next();
        if (next.done === true) queue.open = false;
        else append(queue, next.value);
      }
      return queue.end - queue.pos >= count;
    },
    close: async () => {
      await iterator.return?.();
    },
  };
}

/** Bytes that are not decoded yet. */
export function waiting(queue: Queue): number {
  return queue.end - queue.pos;
}

/** A view of the next `count` bytes, which must be there. */
export function take(queue: Queue, count: number): Uint8Array {
  queue.pos += count;
  return queue.bytes.subarray(queue.pos - count, queue.pos);
}

/** The next `count` bytes as a number, most significant first. */
export function takeNumber(queue: Queue, count: number): number {
  return take(queue, count).reduce((value, byte) => value * 256 + byte, 0);
}

/** What the decoders throw for bytes that cannot be. */
export function damaged(reason: string): CprkitError {
  return new CprkitError("ERR_BAD_STREAM", reason);
}

/** What the decoders throw where bytes are missing. */
export function cutShort(what: string): CprkitError {
  return new CprkitError("ERR_EOF", `the input ends in ${what}`);
}

function append(queue: Queue, chunk: Uint8Array): void {
  const kept = waiting(queue);
  if (queue.end + chunk.length > queue.bytes.length) {
    const bytes = kept + chunk.length <= queue.bytes.length ? queue.bytes : new Uint8Array((kept + chunk.length) * 2);
    bytes.set(queue.bytes.subarray(queue.pos, queue.end));
    queue.bytes = bytes;
    queue.pos = 0;
    queue.end = kept;
  }
  queue.bytes.set(chunk, queue.end);
  queue.end += chunk.length;
}
