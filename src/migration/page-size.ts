// A stream that does not state its page size, and was read with another: which size fits.

import { CprkitError } from "../vmstate/error.ts";
import type { Migration } from "./model.ts";

/** Of all of QEMU's machines; the likely ones first. */
const sizes = [8192, 16384, 65536, 1024, 2048, 512, 256, 32768];

/** True if RAM's records could not be read, and nobody said how long a page is. */
export function isPageSizeDoubtful({ pageSizeStated, problems, stopped }: Migration): boolean {
  if (pageSizeStated) return false;
  return [...problems, ...(stopped === undefined ? [] : [stopped])].some(
    ({ path, code }) => path === "ram" && code !== "ERR_EOF",
  );
}

/** The stream with a problem more: the size that fits, if there is one. `read` reads it again with a size. */
export async function withLikelySize(
  migration: Migration,
  read: (pageSize: number) => Promise<Migration>,
): Promise<Migration> {
  for (const size of sizes) {
    const again = await read(size);
    const isBad = [...again.problems, ...(again.stopped === undefined ? [] : [again.stopped])].some(
      ({ path }) => path === "ram",
    );
    if (isBad || again.ram === undefined) continue;
    const reason = `the stream does not state its page size; ${migration.pageSize} bytes do not fit, ${size} do: read it with --page-size ${size}`;
    const { offset } = migration.sections.find(({ name }) => name === "ram") ?? migration;
    return {
      ...migration,
      problems: [new CprkitError("ERR_BAD_STREAM", reason, { offset }).within("ram"), ...migration.problems],
    };
  }
  return migration;
}
