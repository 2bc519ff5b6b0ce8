// mapped-ram: each page has a fixed place in the file, and a bitmap shows which are there (QEMU 10.0
// docs/devel/migration/mapped-ram.rst).

import { CprkitError } from "../../vmstate/error.ts";
import type { MappedRam, RamBlock } from "../model.ts";
import { need, type Step, type Window } from "../stream/window.ts";
import type { RamState } from "./state.ts";

/** Bitmap bytes that are read at once. */
const piece = 1 << 16;

/**
 * Counts a block's pages by its bitmap and steps over them: afterwards the window is after the block's pages.
 * With `ram.onPage`, each page is read; with `ram.onPlace`, only the bitmap is. The bitmap is in the writer's byte order, taken for little-endian: the counts
 * are right for either. Throws ERR_EOF.
 */
export function* readMappedPages(w: Window, ram: RamState, block: RamBlock, mapped: MappedRam): Step<void> {
  const { pageSize, pagesOffset } = mapped;
  const total = Math.ceil(block.usedLength / pageSize);
  const bitmapSize = Math.ceil(total / 64) * 8;
  if (mapped.bitmapOffset + bitmapSize > pagesOffset) {
    throw new CprkitError(
      "ERR_RANGE",
      `the bitmap of block "${block.name}" takes ${bitmapSize} bytes at ${mapped.bitmapOffset} and so overlaps the pages at ${pagesOffset}`,
      { offset: w.offset },
    );
  }
  const bitmap: Uint8Array[] = [];
  for (let first = 0; first < bitmapSize; first += piece) {
    const length = Math.min(piece, bitmapSize - first);
    w.pos = mapped.bitmapOffset + first - w.base;
    yield* need(w, length, `the mapped-ram bitmap of block "${block.name}"`);
    block.pages += countBits(w.bytes, w.pos, w.pos + length);
    // On a pipe there is no way back to the bitmap, so it is kept: 32 KiB for a GiB of RAM.
    if (ram.onPage !== undefined || ram.onPlace !== undefined) bitmap.push(w.copy(length));
  }
  block.bytes = block.pages * pageSize;
  block.zeroPages = total - Math.min(total, block.pages);
  yield* visitPages(w, ram, block, mapped, bitmap);
  w.pos = pagesOffset + block.usedLength - w.base;
}

function* visitPages(
  w: Window,
  ram: RamState,
  block: RamBlock,
  { pageSize, pagesOffset }: MappedRam,
  bitmap: readonly Uint8Array[],
): Step<void> {
  for (const [index, bytes] of bitmap.entries()) {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const offset = (index * piece * 8 + bit) * pageSize;
      if (offset >= block.usedLength) return;
      const size = Math.min(pageSize, block.usedLength - offset);
      if (((bytes[bit >> 3] as number) & (1 << (bit & 7))) === 0) {
        ram.onPlace?.(block.name, offset, "zero", w.base + w.pos, 0);
        ram.onPage?.({ block: block.name, offset, size, kind: "zero", data: undefined });
        continue;
      }
      ram.onPlace?.(block.name, offset, "page", pagesOffset + offset, size);
      if (ram.onPage === undefined) continue;
      w.pos = pagesOffset + offset - w.base;
      yield* need(w, size, `a page of block "${block.name}"`);
      ram.onPage?.({ block: block.name, offset, size, kind: "page", data: w.bytes.subarray(w.pos, w.pos + size) });
    }
  }
}

function countBits(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let i = start; i < end; i++) {
    let byte = bytes[i] as number;
    for (; byte !== 0; byte &= byte - 1) count++;
  }
  return count;
}
