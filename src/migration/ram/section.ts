// The ram section: block list, then records up to EOS (QEMU 10.0 migration/ram.c).

import { CprkitError } from "../../vmstate/error.ts";
import type { MappedRam, RamBlock } from "../model.ts";
import { cut, has, need, type Step, type Window } from "../stream/window.ts";
import { readMappedPages } from "./mapped.ts";
import { atBlockList, atEos, readRecords } from "./records.ts";
import type { RamState } from "./state.ts";

/**
 * Reads one body of the ram section, up to and with its EOS. Throws with the record's offset: ERR_EOF where the input
 * ends, ERR_BAD_STREAM, ERR_RANGE, ERR_BAD_BYTE, ERR_DUPLICATE.
 */
export function* readRamBody(w: Window, ram: RamState): Step<void> {
  for (;;) {
    const stop = readRecords(w, ram);
    if (stop === atEos) return;
    if (stop === atBlockList) {
      yield* readBlockList(w, ram);
      continue;
    }
    if (!(yield* has(w, stop))) throw w.available < 0 ? cutPage(w, ram) : cut(w, stop, "a RAM record");
  }
}

/** No machine has larger blocks, and a larger number is not exact. */
const maxBytes = 2n ** 53n;

function* readBlockList(w: Window, ram: RamState): Step<void> {
  yield* need(w, 8, "the RAM block list");
  const start = w.offset;
  const total = size(w, w.view.getBigUint64(w.pos) & ~BigInt(ram.pageSize - 1), "the total size of RAM");
  w.pos += 8;
  if (ram.blocks.length > 0) {
    throw new CprkitError("ERR_DUPLICATE", "a second RAM block list", { offset: start });
  }
  ram.totalBytes = total;
  let sum = 0;
  while (sum < total) {
    const block = yield* readBlock(w, ram, total - sum);
    sum += block.usedLength;
    if (block.usedLength % ram.pageSize !== 0) {
      throw new CprkitError(
        "ERR_RANGE",
        `block "${block.name}" has 0x${block.usedLength.toString(16)} bytes, which is not a multiple of the page size ${ram.pageSize}`,
        { offset: block.offset },
      );
    }
  }
}

function* readBlock(w: Window, ram: RamState, rest: number): Step<RamBlock> {
  const offset = w.offset;
  yield* need(w, 1, "the RAM block list");
  const length = w.bytes[w.pos] as number;
  yield* need(w, 1 + length + 8, "the RAM block list");
  w.pos += 1;
  const name = w.text(length);
  if (ram.byName.has(name)) {
    throw new CprkitError("ERR_DUPLICATE", `the block list names "${name}" twice`, { offset });
  }
  const usedLength = size(w, w.uint64(), `the size of block "${name}"`);
  if (usedLength > rest || usedLength === 0) {
    throw new CprkitError(
      "ERR_RANGE",
      `block "${name}" has 0x${usedLength.toString(16)} bytes, but only 0x${rest.toString(16)} are left of the list's total`,
      { offset },
    );
  }
  const pageSize = yield* readBlockPageSize(w, ram, usedLength === rest);
  let address: bigint | undefined;
  if (ram.ignoreShared) {
    yield* need(w, 8, `the guest address of block "${name}"`);
    address = w.uint64();
  }
  const mapped = ram.mappedRam ? yield* readMappedHeader(w, name) : undefined;
  const block: RamBlock = {
    name,
    offset,
    usedLength,
    pageSize,
    address,
    mapped,
    pages: 0,
    zeroPages: 0,
    xbzrlePages: 0,
    compressedPages: 0,
    bytes: 0,
  };
  ram.blocks.push(block);
  ram.byName.set(name, block);
  if (mapped !== undefined) yield* readMappedPages(w, ram, block, mapped);
  return block;
}

/**
 * With postcopy, a block whose pages are larger than the rest's has their size here, and nothing shows whether it
 * does. A page size is a power of two that was announced. What else can be here does not look like that: a name
 * (first byte: its length, never 0), or, after the last block, a record (it has a flag in its low bits).
 */
function* readBlockPageSize(w: Window, ram: RamState, last: boolean): Step<number | undefined> {
  if (ram.postcopyPageSizes === 0n || !(yield* has(w, 8))) return undefined;
  const value = w.view.getBigUint64(w.pos);
  const announced = value !== 0n && (value & (value - 1n)) === 0n && (value & ram.postcopyPageSizes) !== 0n;
  if (!announced || (last && value < BigInt(ram.pageSize))) return undefined;
  w.pos += 8;
  return Number(value);
}

function* readMappedHeader(w: Window, name: string): Step<MappedRam> {
  const what = `the mapped-ram header of block "${name}"`;
  yield* need(w, 28, what);
  const offset = w.offset;
  const version = w.uint32();
  const pageSize = size(w, w.uint64(), "the page size");
  const bitmapOffset = size(w, w.uint64(), "the bitmap's offset");
  const pagesOffset = size(w, w.uint64(), "the pages' offset");
  if (version !== 1)
    throw new CprkitError("ERR_RANGE", `${what} has version ${version}, and only 1 is known`, { offset });
  if (pageSize < 512 || (pageSize & (pageSize - 1)) !== 0 || pageSize > 2 ** 30) {
    throw new CprkitError(
      "ERR_RANGE",
      `${what} has page size ${pageSize}, which is not a power of two from 512 to 2^30`,
      {
        offset: offset + 4,
      },
    );
  }
  if (bitmapOffset < w.offset || pagesOffset < bitmapOffset) {
    throw new CprkitError(
      "ERR_RANGE",
      `${what} puts the bitmap at ${bitmapOffset} and the pages at ${pagesOffset}; both must follow it, in this order`,
      { offset: offset + 12 },
    );
  }
  return { version, pageSize, bitmapOffset, pagesOffset };
}

function size(w: Window, value: bigint, what: string): number {
  if (value > maxBytes) {
    throw new CprkitError("ERR_RANGE", `${what} is 0x${value.toString(16)}, more than any machine has`, {
      offset: w.offset,
    });
  }
  return Number(value);
}

function cutPage(w: Window, ram: RamState): CprkitError {
  const block = ram.current === undefined ? "" : ` of block "${ram.current.name}"`;
  return new CprkitError("ERR_EOF", `the input ends inside a page${block}: ${-w.available} bytes of it are missing`, {
    offset: w.endOffset,
  });
}
