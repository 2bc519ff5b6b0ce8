// The records of a ram section, read as long as the window has them: the loop that tens of GiB pass through
// (QEMU 10.0 migration/ram.c).

import { CprkitError } from "../../vmstate/error.ts";
import { decodeText } from "../../vmstate/wire/text.ts";
import type { RamBlock } from "../model.ts";
import { ramFlag } from "../stream/constants.ts";
import type { Window } from "../stream/window.ts";
import type { RamState } from "./state.ts";

const { zero, memSize, page, eos, sameBlock, xbzrle, hook, compressed, multifdFlush, full } = ramFlag;
const samePage = page | sameBlock;

/** The section's end was read. */
export const atEos = 0;
/** A block list begins; its first word is still to be read. */
export const atBlockList = -1;

/**
 * Reads records from `w.pos` on. Returns {@link atEos}, {@link atBlockList}, or the number of bytes that it needs
 * before it can go on. A page's body is stepped over, not read: `w.pos` may be after the window's end.
 * Throws ERR_BAD_STREAM, ERR_RANGE or ERR_BAD_BYTE with `w.pos` on the record.
 */
export function readRecords(w: Window, ram: RamState): number {
  const { view, end } = w;
  const { pageSize } = ram;
  const mask = pageSize - 1;
  const quick = ram.onPage === undefined && ram.onPlace === undefined;
  for (;;) {
    let { current } = ram;
    let { pos } = w;
    if (quick && current !== undefined) {
      let { pages } = current;
      const { usedLength } = current;
      while (pos <= end - 8) {
        const low = view.getUint32(pos + 4);
        if ((low & mask) !== samePage) break;
        if (view.getUint32(pos) * 0x1_0000_0000 + (low - samePage) >= usedLength) break;
        pages += 1;
        pos += 8 + pageSize;
      }
      current.bytes += (pages - current.pages) * pageSize;
      current.pages = pages;
      w.pos = pos;
    }
    if (end - pos < 8) return 8;
    const low = view.getUint32(pos + 4);
    const flags = low & mask;
    if (flags === eos) {
      w.pos = pos + 8;
      return atEos;
    }
    if (flags === memSize) return atBlockList;
    if (flags === multifdFlush) {
      ram.multifdFlushes += 1;
      w.pos = pos + 8;
      continue;
    }
    const kind = flags & ~sameBlock;
    if (kind !== page && kind !== zero && kind !== xbzrle && kind !== compressed) throw badFlags(w, flags);
    const offset = view.getUint32(pos) * 0x1_0000_0000 + (low - flags);
    pos += 8;
    if ((flags & sameBlock) === 0) {
      if (end - pos < 1) return 9;
      const length = w.bytes[pos] as number;
      if (end - pos < 1 + length) return 9 + length;
      const name = decodeText(w.bytes, pos + 1, pos + 1 + length);
      current = ram.byName.get(name);
      if (current === undefined) {
        throw bad(w, "ERR_BAD_STREAM", `a page of block "${name}", which is not in the block list`);
      }
      pos += 1 + length;
    } else if (current === undefined) {
      throw bad(w, "ERR_BAD_STREAM", "a first page that names no block (CONTINUE, but no block came before)");
    }
    if (offset >= current.usedLength) {
      throw bad(
        w,
        "ERR_RANGE",
        `a page at 0x${offset.toString(16)} of block "${current.name}", which has only 0x${current.usedLength.toString(16)} bytes`,
      );
    }
    const short = readPage(w, ram, current, kind, offset, pos);
    if (short > 0) return short;
    ram.current = current;
  }
}

/** Counts the page whose content is at `pos` and steps over it; else returns how many bytes are needed. */
function readPage(w: Window, ram: RamState, block: RamBlock, kind: number, offset: number, pos: number): number {
  const { onPage, onPlace, pageSize } = ram;
  const left = w.end - pos;
  const head = pos - w.pos;
  if (kind === page) {
    if (onPage !== undefined) {
      if (left < pageSize) return head + pageSize;
      onPage({ block: block.name, offset, size: pageSize, kind: "page", data: w.bytes.subarray(pos, pos + pageSize) });
    }
    onPlace?.(block.name, offset, "page", w.base + pos, pageSize);
    block.pages += 1;
    block.bytes += pageSize;
    w.pos = pos + pageSize;
    return 0;
  }
  if (kind === zero) {
    if (left < 1) return head + 1;
    const fill = w.bytes[pos] as number;
    onPlace?.(block.name, offset, fill === 0 ? "zero" : "filled", w.base + pos, 1);
    if (fill === 0) onPage?.({ block: block.name, offset, size: pageSize, kind: "zero", data: undefined });
    else {
      // Old writers said so of any page of equal bytes; QEMU 10.0 refuses it.
      ram.filledPages += 1;
      onPage?.({ block: block.name, offset, size: pageSize, kind: "page", data: new Uint8Array(pageSize).fill(fill) });
    }
    block.zeroPages += 1;
    w.pos = pos + 1;
    return 0;
  }
  if (kind === xbzrle) {
    if (left < 3) return head + 3;
    const encoding = w.bytes[pos] as number;
    const length = w.view.getUint16(pos + 1);
    if (encoding !== 1) throw bad(w, "ERR_BAD_BYTE", `an XBZRLE page with encoding ${encoding}: only 1 is known`);
    if (length > pageSize) throw bad(w, "ERR_RANGE", `an XBZRLE page of ${length} bytes, more than a page has`);
    if (onPage !== undefined) {
      if (left < 3 + length) return head + 3 + length;
      onPage({
        block: block.name,
        offset,
        size: pageSize,
        kind: "xbzrle",
        data: w.bytes.subarray(pos + 3, pos + 3 + length),
      });
    }
    onPlace?.(block.name, offset, "xbzrle", w.base + pos + 3, length);
    block.xbzrlePages += 1;
    block.bytes += length;
    w.pos = pos + 3 + length;
    return 0;
  }
  if (left < 4) return head + 4;
  const length = w.view.getUint32(pos);
  // zlib's worst case is a little above the page itself.
  if (length > 2 * pageSize) throw bad(w, "ERR_RANGE", `a compressed page of ${length} bytes`);
  if (onPage !== undefined) {
    throw bad(
      w,
      "ERR_BAD_STREAM",
      `a page compressed with zlib (capability "compress", removed in QEMU 9.1): such pages are counted, but cannot be unpacked`,
    );
  }
  onPlace?.(block.name, offset, "compressed", w.base + pos + 4, length);
  block.compressedPages += 1;
  block.bytes += length;
  w.pos = pos + 4 + length;
  return 0;
}

function badFlags(w: Window, flags: number): CprkitError {
  if ((flags & full) !== 0)
    return bad(w, "ERR_BAD_STREAM", "the flag FULL, obsolete in every QEMU that cprkit can read");
  if ((flags & hook) !== 0) return bad(w, "ERR_BAD_STREAM", "the flag HOOK, which belongs to RDMA and never to a file");
  return bad(w, "ERR_BAD_STREAM", `the flags 0x${flags.toString(16)}, which no record has: a page does not begin here`);
}

function bad(w: Window, code: "ERR_BAD_STREAM" | "ERR_RANGE" | "ERR_BAD_BYTE", found: string): CprkitError {
  return new CprkitError(code, `expected a RAM record, found ${found}`, { offset: w.offset });
}
