// Streams of machines with other pages than 4 KiB: those that state it, those that do not, and those of a size that few have.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { readMigrationBytes } from "../../src/migration/index.ts";
import {
  blockList,
  bytes,
  configuration,
  counted,
  end,
  entry,
  eos,
  further,
  header,
  repeat,
} from "../migration/build.ts";
import { cprkit } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-page-size-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** RAM of 8 pages, of which three are sent. */
function stream(pageSize: number, ...ending: Uint8Array[]): Uint8Array {
  const size = BigInt(pageSize);
  const page = (at: bigint, fill: number) => bytes(at * size + 0x28n, repeat(fill, pageSize));
  return bytes(
    header,
    configuration("test"),
    entry(1, 1, "ram", [blockList([["ram", 8 * pageSize]]), eos], { version: 4 }),
    further(2, 1, [0x08n, counted("ram"), repeat(0xa5, pageSize), page(1n, 0x5a), page(5n, 0xff), eos]),
    further(3, 1, [eos]),
    ...ending,
  );
}

const stated = (pageSize: number) => stream(pageSize, end(`{"page_size":${pageSize},"devices":[]}`));
const file = (name: string, content: Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

describe("a page size that the stream states", () => {
  for (const size of [256, 512, 1024, 8192, 65536]) {
    test(`of ${size} bytes`, () => {
      const { pageSize, pageSizeStated, ram, problems, complete } = readMigrationBytes(stated(size));
      expect({ pageSize, pageSizeStated, problems, complete }).toEqual({
        pageSize: size,
        pageSizeStated: true,
        problems: [],
        complete: true,
      });
      expect(ram).toMatchObject({ pages: 3, bytes: 3 * size });
    });
  }

  test("that no machine has is not believed", () => {
    for (const size of [0, 100, 128, 3000]) {
      expect(
        readMigrationBytes(bytes(header, configuration("x"), end(`{"page_size":${size},"devices":[]}`))),
      ).toMatchObject({
        pageSize: 4096,
        pageSizeStated: false,
      });
    }
  });
});

describe("a page size that the stream does not state", () => {
  const bare = stream(8192, Uint8Array.of(0));

  test("is named, if it is another than 4096, also of a compressed file", () => {
    for (const path of [file("bare.mig", bare), file("bare.mig.gz", gzipSync(bare))]) {
      const { code, stdout } = cprkit(["inspect", path]);
      expect(code).toBeGreaterThan(0);
      expect(stdout).toContain("4096 (not stated)");
      expect(stdout).toContain("4096 bytes do not fit, 8192 do: read it with --page-size 8192");
      const right = cprkit(["inspect", path, "--page-size", "8192"]);
      expect(right).toMatchObject({ code: 0, stderr: "" });
      expect(right.stdout).toMatch(/^ram +64\.0 KiB +3 +0 +0 +24,576$/m);
    }
  });

  test("--page-size takes powers of two", () => {
    for (const size of ["100", "3000", "x"]) expect(cprkit(["inspect", "x", "--page-size", size]).code).toBe(2);
  });
});
