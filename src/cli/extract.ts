// Writes the guest RAM of one block into a file.

import { closeSync, ftruncateSync, openSync, readSync, statfsSync, statSync, writeSync } from "node:fs";
import { systemReason } from "../files/read.ts";
import { applyXbzrle, type RamPage } from "../migration/index.ts";
import { CprkitError } from "../vmstate/error.ts";

export interface Extraction {
  readonly onPage: (page: RamPage) => void;
  /** Gives the file the block's length. */
  finish(length: number): void;
  close(): void;
}

/**
 * Writes the RAM of `block` to `path`. It is opened, and what it held overwritten, when there is something to write: a
 * stream without such a block leaves it alone. Pages of zeros become holes. Throws ERR_FILE, and ERR_USAGE if `path` is
 * the file `input` that is being read.
 */
export function extractBlock(block: string, path: string, input: string): Extraction {
  if (guarded(path, () => isSameFile(path, input))) {
    throw new CprkitError(
      "ERR_USAGE",
      `-o ${path} is the stream itself, which would be overwritten: name another file`,
    );
  }
  let fd: number | undefined;
  const open = () => {
    if (fd !== undefined) return fd;
    const opened = openSync(path, "w+");
    // Below /proc each write means something else: /proc/self/mem is this process's own memory.
    if (isOfProc(opened)) {
      closeSync(opened);
      throw new CprkitError("ERR_FILE", `cannot write ${path}: it does not keep what is written`);
    }
    fd = opened;
    return fd;
  };
  return {
    onPage: (page) => {
      if (page.block !== block) return;
      guarded(path, () => writePage(open(), page));
    },
    finish: (length) => guarded(path, () => ftruncateSync(open(), length)),
    close: () => {
      if (fd !== undefined) closeSync(fd);
    },
  };
}

function isOfProc(fd: number): boolean {
  try {
    return statfsSync(`/proc/self/fd/${fd}`).type === procSuperMagic;
  } catch {
    return false;
  }
}

/** Linux include/uapi/linux/magic.h. */
const procSuperMagic = 0x9fa0;

function isSameFile(a: string, b: string): boolean {
  const found = (path: string) => statSync(path === "-" ? "/dev/stdin" : path, { throwIfNoEntry: false });
  const [one, other] = [found(a), found(b)];
  return one?.isFile() === true && one.ino === other?.ino && one.dev === other.dev;
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
    throw new CprkitError("ERR_FILE", `cannot write ${path}: ${systemReason(cause)}`, { cause });
  }
}
