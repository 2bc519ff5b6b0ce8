// LZ4 frames, linked or independent blocks, and the old format of `lz4 -l`: a block at a time (LZ4 Frame Format 1.6.4,
// LZ4 Block Format). The check value of the whole (xxHash) is verified, those of
// blocks are not.

import { cutShort, damaged, queueOf, take } from "./queue.ts";

const frameMagic = 0x184d2204;
const oldMagic = 0x184c2102;
const oldBlockSize = 8 << 20;
const history = 64 * 1024;

/** The bytes that were compressed. Ends the iteration with ERR_BAD_STREAM or ERR_EOF. */
export async function* unlz4(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const { queue, fill, close } = queueOf(chunks);
  const little = () => take(queue, 4).reduceRight((value, byte) => value * 256 + byte, 0);
  const needed = async (count: number, what: string): Promise<void> => {
    if (!(await fill(count))) throw cutShort(what);
  };
  try {
    for (let old = false; await fill(4); ) {
      const magic = little();
      if (magic === oldMagic) old = true;
      else if (magic === frameMagic) {
        old = false;
        yield* frame();
      } else if (magic >= 0x184d2a50 && magic <= 0x184d2a5f) {
        await needed(4, "a part to be skipped");
        for (let left = little(); left > 0; ) {
          await needed(1, "a part to be skipped");
          left -= take(queue, Math.min(left, queue.end - queue.pos)).length;
        }
      } else if (old && magic <= oldBlockSize + oldBlockSize / 128) {
        await needed(magic, "a block of LZ4");
        const out = new Uint8Array(oldBlockSize);
        yield out.subarray(0, decodeBlock(take(queue, magic), out, 0));
      } else return;
    }
  } finally {
    await close();
  }

  async function* frame(): AsyncGenerator<Uint8Array, void, void> {
    const what = "the header of LZ4";
    await needed(2, what);
    const [flags = 0, sizes = 0] = take(queue, 2);
    if (flags >> 6 !== 1 || sizes >> 4 < 4) throw damaged("an LZ4 frame of a version that nobody knows");
    const rest = ((flags & 8) !== 0 ? 8 : 0) + 1;
    if ((flags & 1) !== 0) throw damaged("an LZ4 frame that needs a dictionary");
    await needed(rest, what);
    take(queue, rest);
    const blockSize = 1 << (8 + 2 * (sizes >> 4));
    const linked = (flags & 0x20) === 0;
    const window = new Uint8Array(history + blockSize);
    const hash = (flags & 4) !== 0 ? xxh32() : undefined;
    let known = 0;
    for (;;) {
      await needed(4, "a frame of LZ4");
      const word = little();
      if (word === 0) break;
      const length = word % 0x8000_0000;
      if (length > blockSize) throw damaged("an LZ4 block that is longer than its frame allows");
      await needed(length + ((flags & 0x10) !== 0 ? 4 : 0), "a block of LZ4");
      const block = take(queue, length);
      let end = known;
      if (word >= 0x8000_0000) {
        window.set(block, known);
        end += length;
      } else end = decodeBlock(block, window, known);
      if ((flags & 0x10) !== 0) take(queue, 4);
      if (end - known > blockSize) throw damaged("an LZ4 block that is longer than its frame allows");
      hash?.add(window.subarray(known, end));
      yield window.slice(known, end);
      // What the next block may refer to comes first.
      const kept = linked ? Math.min(history, end) : 0;
      window.copyWithin(0, end - kept, end);
      known = kept;
    }
    if (hash !== undefined) {
      await needed(4, "the check value of LZ4");
      if (little() !== hash.value()) throw damaged("an LZ4 frame does not have its check value");
    }
  }
}

/** Decodes one block into `out` from `start` on, where what came before it ends. Returns where it ends. */
function decodeBlock(block: Uint8Array, out: Uint8Array, start: number): number {
  let from = 0;
  let at = start;
  const length = (first: number): number => {
    let value = first;
    if (first === 15) {
      for (let byte = 255; byte === 255; value += byte) {
        if (from >= block.length) throw damaged("a length in an LZ4 block has no end");
        byte = block[from++] as number;
      }
    }
    return value;
  };
  while (from < block.length) {
    const token = block[from++] as number;
    const literals = length(token >> 4);
    if (from + literals > block.length || at + literals > out.length) throw damaged("an LZ4 block overruns its end");
    out.set(block.subarray(from, from + literals), at);
    from += literals;
    at += literals;
    // The last sequence has no match.
    if (from === block.length) break;
    if (from + 2 > block.length) throw damaged("an LZ4 block overruns its end");
    const distance = (block[from] as number) | ((block[from + 1] as number) << 8);
    from += 2;
    const count = length(token & 15) + 4;
    if (distance === 0 || distance > at) throw damaged("an LZ4 block refers to what is before its beginning");
    if (at + count > out.length) throw damaged("an LZ4 block overruns its end");
    copyMatch(out, at, distance, count);
    at += count;
  }
  return at;
}

/** Copies `count` bytes from `distance` before `at` to `at`; the two may overlap, which repeats what is between. */
export function copyMatch(out: Uint8Array, at: number, distance: number, count: number): void {
  if (distance >= count) out.copyWithin(at, at - distance, at - distance + count);
  else if (distance === 1) out.fill(out[at - 1] as number, at, at + count);
  else for (let i = at; i < at + count; i++) out[i] = out[i - distance] as number;
}

/** xxHash of 32 bits, seed 0 (xxHash's doc/xxhash_spec.md). */
function xxh32(): { add(bytes: Uint8Array): void; value(): number } {
  const [p1, p2, p3, p4, p5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
  const turn = (value: number, bits: number) => (value << bits) | (value >>> (32 - bits));
  const lanes = Int32Array.of(p1 + p2, p2, 0, -p1);
  const rest = new Uint8Array(16);
  let kept = 0;
  let total = 0;
  const step = (bytes: Uint8Array, at: number): void => {
    for (let lane = 0; lane < 4; lane++) {
      const from = at + 4 * lane;
      const word =
        (bytes[from] as number) |
        ((bytes[from + 1] as number) << 8) |
        ((bytes[from + 2] as number) << 16) |
        ((bytes[from + 3] as number) << 24);
      lanes[lane] = Math.imul(turn((lanes[lane] as number) + Math.imul(word, p2), 13), p1);
    }
  };
  return {
    add: (bytes) => {
      total += bytes.length;
      let at = 0;
      if (kept > 0) {
        at = Math.min(16 - kept, bytes.length);
        rest.set(bytes.subarray(0, at), kept);
        kept += at;
        if (kept < 16) return;
        step(rest, 0);
        kept = 0;
      }
      for (; at + 16 <= bytes.length; at += 16) step(bytes, at);
      rest.set(bytes.subarray(at));
      kept = bytes.length - at;
    },
    value: () => {
      const [a = 0, b = 0, c = 0, d = 0] = lanes;
      let hash = total >= 16 ? turn(a, 1) + turn(b, 7) + turn(c, 12) + turn(d, 18) : p5;
      hash = (hash + total) | 0;
      let at = 0;
      for (; at + 4 <= kept; at += 4) {
        const word = new DataView(rest.buffer).getInt32(at, true);
        hash = Math.imul(turn((hash + Math.imul(word, p3)) | 0, 17), p4);
      }
      for (; at < kept; at++) hash = Math.imul(turn((hash + Math.imul(rest[at] as number, p5)) | 0, 11), p1);
      hash = Math.imul(hash ^ (hash >>> 15), p2);
      hash = Math.imul(hash ^ (hash >>> 13), p3);
      return (hash ^ (hash >>> 16)) >>> 0;
    },
  };
}
