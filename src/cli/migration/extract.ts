// Writes the guest RAM of one block into a file.

import { closeSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { applyXbzrle, type RamPage } from "../../migration/index.ts";
import { CprkitError } from "../../vmstate/error.ts";

export interface Extraction {
  readonly onPage: (page: RamPage) => void;
  /** Gives the file the block's length. */
  finish(length: number): void;
  close(): void;
}

/** Opens `path` for the RAM of `block`; what it held is overwritten. Pages of zeros become holes. Throws ERR_FILE. */
export function extractBlock(block: string, path: string): Extraction {
  const fd = guarded(path, () => openSync(path, "w+"));
  return {
    onPage: (page) => {
      if (page.block !== block) return;
      guarded(path, () => writePage(fd, page));
    },
    finish: (length) => guarded(path, () => ftruncateSync(fd, length)),
    close: () => closeSync(fd),
  };
}

function writePage(fd: number, { kind, offset, size, data }: RamPage): void {
  if (kind === "page" && data !== undefined) {
    writeAll(fd, data, offset);
    return;
  }
  const page = new Uint8Array(size);
  // A page that was sent before may become zeros, or change in part.
  const known = readSync(fd, page, 0, size, offset);
  if (kind === "xbzrle" && data !== undefined) {
    applyXbzrle(page, data);
    writeAll(fd, page, offset);
  } else if (known > 0 && page.some((byte) => byte !== 0)) writeAll(fd, page.fill(0), offset);
}

function writeAll(fd: number, bytes: Uint8Array, offset: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, offset + at);
}

function guarded<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    if (cause instanceof CprkitError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CprkitError("ERR_FILE", `cannot write ${path}: ${why}`, { cause });
  }
}
