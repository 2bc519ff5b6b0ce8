// Huge pages of 2 MiB for a test: added to the host's own while it runs. Other test files do the same at the same time, so
// each takes back what it added, and nobody sets the number that was there when he came.

import { readFileSync, writeFileSync } from "node:fs";

const pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

/** Adds so many. @returns what takes them back; undefined where there can't be so many: memory is in pieces, or not root */
export function addHugePages(pages: number): (() => void) | undefined {
  const count = () => Number(readFileSync(pool, "utf8"));
  try {
    const before = count();
    writeFileSync(pool, String(before + pages));
    const added = count() - before;
    const takeBack = () => writeFileSync(pool, String(Math.max(0, count() - added)));
    if (added >= pages) return takeBack;
    takeBack();
  } catch {
    // Not in this kernel, or not for us.
  }
  return undefined;
}
