// Files of lzop: its blocks, each compressed with LZO1X (the kernel's Documentation/staging/lzo.rst describes it; the
// file's format: lzop 1.04's manual and file(1)'s magic). Adler-32 of what was decoded is checked where the file has it.

import { copyMatch } from "./lz4.ts";
import { cutShort, damaged, queueOf, take, takeNumber } from "./queue.ts";

const magicBytes = 9;
/** lzop writes blocks of 256 KiB; its format allows 64 MiB. */
const maxBlock = 64 << 20;

const flag = { adlerOut: 0x1, adlerIn: 0x2, extra: 0x40, crcOut: 0x100, crcIn: 0x200, filter: 0x800 } as const;

/** The bytes that were compressed. Ends the iteration with ERR_BAD_STREAM or ERR_EOF. */
export async function* unlzop(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const { queue, fill, close } = queueOf(chunks);
  const number = async (size: number, what = "the header of lzop"): Promise<number> => {
    if (!(await fill(size))) throw cutShort(what);
    return takeNumber(queue, size);
  };
  const skip = async (size: number): Promise<void> => {
    if (!(await fill(size))) throw cutShort("the header of lzop");
    take(queue, size);
  };
  try {
    while (await fill(magicBytes)) {
      if (take(queue, 4).join() !== "137,76,90,79") return;
      await skip(magicBytes - 4);
      const version = await number(2);
      const isNew = version >= 0x940;
      await skip(isNew ? 4 : 2);
      const method = await number(1);
      if (method < 1 || method > 3) throw damaged(`lzop's method ${method}, which is not LZO1X`);
      if (isNew) await skip(1);
      const flags = await number(4);
      if ((flags & flag.filter) !== 0) throw damaged("lzop's filters, which are not read");
      await skip(isNew ? 12 : 8);
      await skip((await number(1)) + 4);
      if ((flags & flag.extra) !== 0) await skip(Math.min(await number(4), maxBlock) + 4);
      for (;;) {
        const what = "a block of lzop";
        const length = await number(4, what);
        if (length === 0) break;
        const size = await number(4, what);
        if (length > maxBlock || size > length) throw damaged("a block of lzop has an impossible length");
        const adler = (flags & flag.adlerOut) !== 0 ? await number(4, what) : undefined;
        if ((flags & flag.crcOut) !== 0) await number(4, what);
        if (size < length && (flags & flag.adlerIn) !== 0) await number(4, what);
        if (size < length && (flags & flag.crcIn) !== 0) await number(4, what);
        if (!(await fill(size))) throw cutShort(what);
        const block = take(queue, size);
        const out = size === length ? block.slice() : decodeLzo(block, length);
        if (adler !== undefined && adler32(out) !== adler) {
          throw damaged("a block of lzop does not have its check value");
        }
        yield out;
      }
    }
  } finally {
    await close();
  }
}

/** Decodes LZO1X. What decides how the next instruction is read is how many literals came before it. */
function decodeLzo(block: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length);
  let from = 0;
  let at = 0;
  const byte = (): number => {
    if (from >= block.length) throw damaged("a block of LZO ends too early");
    return block[from++] as number;
  };
  const counted = (bits: number, given: number): number => {
    if (given > 0) return given;
    let count = bits;
    for (;;) {
      const more = byte();
      if (more > 0) return count + more;
      count += 255;
    }
  };
  const literals = (count: number): void => {
    if (from + count > block.length || at + count > length) throw damaged("a block of LZO overruns its end");
    out.set(block.subarray(from, from + count), at);
    from += count;
    at += count;
  };
  const match = (distance: number, count: number): void => {
    if (distance > at || at + count > length) throw damaged("a block of LZO refers to what it does not have");
    copyMatch(out, at, distance, count);
    at += count;
  };

  // 0 to 3: that many literals were copied with the last match; 4: a longer run of them.
  let state = 0;
  const first = block[0] ?? 0;
  if (first > 17) {
    from = 1;
    literals(first - 17);
    state = Math.min(first - 17, 4);
  }
  for (;;) {
    const code = byte();
    let trailing: number;
    if (code >= 64) {
      trailing = code & 3;
      match((byte() << 3) + ((code >> 2) & 7) + 1, (code >> 5) + 1);
    } else if (code >= 32) {
      const count = counted(31, code & 31) + 2;
      const low = byte();
      trailing = low & 3;
      match((byte() << 6) + (low >> 2) + 1, count);
    } else if (code >= 16) {
      const count = counted(7, code & 7) + 2;
      const low = byte();
      trailing = low & 3;
      const distance = 16384 + ((code & 8) << 11) + (byte() << 6) + (low >> 2);
      if (distance === 16384) {
        if (at !== length) throw damaged("a block of LZO ends too early");
        return out;
      }
      match(distance, count);
    } else if (state === 0) {
      literals(counted(15, code) + 3);
      state = 4;
      continue;
    } else {
      trailing = code & 3;
      const distance = (byte() << 2) + (code >> 2) + 1;
      if (state === 4) match(distance + 2048, 3);
      else match(distance, 2);
    }
    literals(trailing);
    state = trailing;
  }
}

function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let at = 0; at < bytes.length; ) {
    // So many sums stay below 2^32.
    for (const end = Math.min(bytes.length, at + 3800); at < end; at++) {
      a += bytes[at] as number;
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return b * 65536 + a;
}
