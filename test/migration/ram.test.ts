import { describe, expect, it } from "vitest";
import {
  applyXbzrle,
  type Migration,
  type RamPage,
  readMigration,
  readMigrationBytes,
} from "../../src/migration/index.ts";
import {
  be16,
  be32,
  blockList,
  bytes,
  capabilities,
  command,
  configuration,
  counted,
  end,
  entry,
  eos,
  further,
  header,
  type Part,
  repeat,
} from "./build.ts";
import { chunksOf } from "./captures.ts";

const page = 4096;

/** A stream whose RAM has these blocks and, in its END section, these records. */
function ramStream(
  records: Part,
  blocks: readonly (readonly [string, number, ...Part[]])[] = [["pc.ram", 4 * page]],
  before: Part = [],
): Uint8Array {
  return bytes(
    header,
    configuration("test"),
    before,
    entry(1, 2, "ram", [blockList(blocks), eos], { version: 4 }),
    further(3, 2, [records, eos]),
    end(),
  );
}

function pagesOf(stream: Uint8Array, options: { offset?: number } = {}): { migration: Migration; pages: RamPage[] } {
  const pages: RamPage[] = [];
  const migration = readMigrationBytes(stream, {
    ...options,
    onPage: (one) => pages.push({ ...one, data: one.data?.slice() }),
  });
  return { migration, pages };
}

const named = (flags: bigint, offset: number, block: string): Part => [BigInt(offset) | flags, counted(block)];
const again = (flags: bigint, offset: number): Part => BigInt(offset) | flags | 0x20n;

describe("RAM records", () => {
  const records: Part = [
    named(0x08n, 0, "pc.ram"),
    repeat(0xaa, page),
    again(0x08n, page),
    repeat(0xbb, page),
    again(0x02n, 2 * page),
    0,
    again(0x40n, page),
    [1, be16(4), 0, 2, 1, 2],
    0x200n,
    named(0x08n, 0, "rom"),
    repeat(0xcc, page),
  ];
  const stream = ramStream(records, [
    ["pc.ram", 4 * page],
    ["rom", page],
  ]);

  it("counts pages, zero pages and deltas by block", () => {
    const { ram, stopped, problems, complete } = readMigrationBytes(stream);
    expect([stopped, problems, complete]).toEqual([undefined, [], true]);
    expect(ram).toMatchObject({
      totalBytes: 5 * page,
      pages: 3,
      zeroPages: 1,
      xbzrlePages: 1,
      bytes: 3 * page + 4,
      multifdFlushes: 1,
    });
    expect(ram?.blocks.map(({ name, pages, zeroPages, xbzrlePages }) => [name, pages, zeroPages, xbzrlePages])).toEqual(
      [
        ["pc.ram", 2, 1, 1],
        ["rom", 1, 0, 0],
      ],
    );
  });

  it("gives each page with its place and content", () => {
    const { pages, migration } = pagesOf(stream);
    expect(pages.map(({ block, offset, kind, data }) => [block, offset, kind, data?.length, data?.[0]])).toEqual([
      ["pc.ram", 0, "page", page, 0xaa],
      ["pc.ram", page, "page", page, 0xbb],
      ["pc.ram", 2 * page, "zero", undefined, undefined],
      ["pc.ram", page, "xbzrle", 4, 0],
      ["rom", 0, "page", page, 0xcc],
    ]);
    expect(migration.ram).toEqual(readMigrationBytes(stream).ram);
  });

  it("counts the same whatever the chunks of a pipe", async () => {
    const expected = readMigrationBytes(stream).ram;
    for (const size of [1, 7, 4096, 4103, 9000]) {
      expect((await readMigration(chunksOf(stream, size))).ram, `chunks of ${size}`).toEqual(expected);
      const pages: RamPage[] = [];
      await readMigration(chunksOf(stream, size), { onPage: (one) => pages.push({ ...one, data: one.data?.slice() }) });
      expect(pages).toEqual(pagesOf(stream).pages);
    }
  });

  it("reads zlib pages of old streams by their length, and filled pages", () => {
    const old = ramStream([named(0x100n, 0, "pc.ram"), be32(5), "12345", again(0x02n, page), 0xff]);
    const { ram, stopped } = readMigrationBytes(old);
    expect(stopped).toBeUndefined();
    expect(ram).toMatchObject({ compressedPages: 1, filledPages: 1, zeroPages: 1, bytes: 5 });
    expect(pagesOf(old).migration.problems[0]?.message).toMatch(/compressed with zlib/);
  });

  it.each<[string, Part, RegExp]>([
    [
      "a block that the list lacks",
      named(0x08n, 0, "other"),
      /a page of block "other", which is not in the block list/,
    ],
    ["no block before CONTINUE", again(0x08n, 0), /names no block/],
    [
      "a page behind the block's end",
      named(0x08n, 4 * page, "pc.ram"),
      /a page at 0x4000 of block "pc.ram", which has only 0x4000 bytes/,
    ],
    ["flags that no record has", 0x0cn, /the flags 0xc/],
    ["FULL", 0x01n, /FULL, obsolete/],
    ["HOOK", 0x80n, /HOOK, which belongs to RDMA/],
    ["an unknown XBZRLE encoding", [named(0x40n, 0, "pc.ram"), 2, be16(0)], /encoding 2/],
    ["an XBZRLE delta longer than a page", [named(0x40n, 0, "pc.ram"), 1, be16(5000)], /5000 bytes, more than a page/],
  ])("names %s and goes on behind the footer", (_name, record, message) => {
    const stream = ramStream(record);
    const { problems, complete, stopped } = readMigrationBytes(stream);
    expect(stopped).toBeUndefined();
    expect(problems.map((problem) => problem.message)).toEqual([expect.stringMatching(message)]);
    expect(problems[0]?.path).toBe("ram");
    expect(complete).toBe(true);
  });

  it("says where a page is cut", () => {
    const whole = ramStream([named(0x08n, 0, "pc.ram"), repeat(1, page)]);
    const cut = whole.subarray(0, whole.length - 100);
    const { stopped, ram, sections } = readMigrationBytes(cut);
    expect(stopped).toMatchObject({ code: "ERR_EOF", offset: cut.length, path: "ram" });
    expect(stopped?.message).toMatch(/inside a page of block "pc.ram"/);
    expect(ram?.pages).toBe(1);
    expect(sections.map(({ type }) => type)).toEqual(["start", "end"]);
  });
});

describe("the RAM block list", () => {
  it("refuses a list that does not add up", () => {
    const wrong = bytes(
      header,
      entry(1, 2, "ram", [bytes(BigInt(2 * page) | 4n, counted("a"), BigInt(3 * page)), eos]),
      end(),
    );
    expect(readMigrationBytes(wrong).problems[0]?.message).toMatch(/has 0x3000 bytes, but only 0x2000 are left/);
    const twice = ramStream(
      [],
      [
        ["a", page],
        ["a", page],
      ],
    );
    expect(readMigrationBytes(twice).problems[0]?.code).toBe("ERR_DUPLICATE");
  });

  it("takes an address with x-ignore-shared", () => {
    const stream = bytes(
      header,
      configuration("test", capabilities("x-ignore-shared")),
      entry(1, 2, "ram", [blockList([["pc.ram", page, 0xc000_0000n]]), eos]),
      further(3, 2, eos),
      end(),
    );
    const { ram, stopped } = readMigrationBytes(stream);
    expect(stopped).toBeUndefined();
    expect(ram).toMatchObject({ ignoreShared: true, blocks: [{ name: "pc.ram", address: 0xc000_0000n }] });
  });

  it("finds the page size that postcopy adds to blocks of huge pages", () => {
    const advise = command(3, [0x20_1000n, 0x1000n]);
    const stream = ramStream(
      [],
      [
        ["huge", 0x40_0000, 0x20_0000n],
        ["pc.ram", page],
      ],
      advise,
    );
    const { ram, stopped, problems } = readMigrationBytes(stream);
    expect([stopped, problems]).toEqual([undefined, []]);
    expect(ram?.blocks.map(({ pageSize }) => pageSize)).toEqual([0x20_0000, undefined]);
    const last = ramStream(
      [],
      [
        ["pc.ram", page],
        ["huge", 0x40_0000, 0x20_0000n],
      ],
      advise,
    );
    expect(readMigrationBytes(last).ram?.blocks.map(({ pageSize }) => pageSize)).toEqual([undefined, 0x20_0000]);
  });

  it("takes the page size from the configuration", () => {
    const bits = bytes(5, counted("configuration/target-page-bits"), be32(1), be32(16));
    const stream = bytes(
      header,
      configuration("virt", bits),
      entry(1, 2, "ram", [
        blockList([["mach-virt.ram", 0x2_0000]]),
        named(0x08n, 0x1_0000, "mach-virt.ram"),
        repeat(1, 0x1_0000),
        eos,
      ]),
      further(3, 2, eos),
      end(),
    );
    const { ram, configuration: read, pageSize, stopped } = readMigrationBytes(stream);
    expect(stopped).toBeUndefined();
    expect([pageSize, ram?.pages, read?.targetPageBits]).toEqual([0x1_0000, 1, 16]);
  });
});

describe("mapped-ram", () => {
  // Two blocks: the first has pages 0 and 3, the second none.
  function mappedStream(): Uint8Array {
    const start = bytes(
      header,
      configuration("test", capabilities("mapped-ram")),
      1,
      be32(2),
      counted("ram"),
      be32(0),
      be32(4),
    );
    const parts: Uint8Array[] = [start, bytes(BigInt(6 * page) | 4n)];
    let at = start.length + 8;
    const add = (part: Uint8Array) => {
      parts.push(part);
      at += part.length;
    };
    for (const [name, length, bitmap, content] of [
      ["pc.ram", 4, 0b1001, [repeat(0x11, page), repeat(0xee, 2 * page), repeat(0x22, page)]],
      ["rom", 2, 0, [repeat(0xee, 2 * page)]],
    ] as const) {
      add(bytes(counted(name), BigInt(length * page)));
      const bitmapOffset = at + 28;
      const pagesOffset = Math.ceil((bitmapOffset + 8) / page) * page;
      add(bytes(be32(1), BigInt(page), BigInt(bitmapOffset), BigInt(pagesOffset)));
      add(bytes(bitmap, repeat(0, 7)));
      add(repeat(0xee, pagesOffset - at));
      for (const part of content) add(part);
    }
    add(bytes(eos, 0x7e, be32(2), further(3, 2, eos), end()));
    return bytes(...parts);
  }

  it("counts by the bitmap and steps over holes", async () => {
    const stream = mappedStream();
    for (const migration of [readMigrationBytes(stream), await readMigration(chunksOf(stream, 1000))]) {
      expect(migration.stopped).toBeUndefined();
      expect(migration.complete).toBe(true);
      expect(migration.ram?.blocks.map(({ name, pages, zeroPages }) => [name, pages, zeroPages])).toEqual([
        ["pc.ram", 2, 2],
        ["rom", 0, 2],
      ]);
    }
  });

  it("gives the pages of the bitmap", () => {
    const { pages } = pagesOf(mappedStream());
    expect(pages.map(({ block, offset, kind, data }) => [block, offset / page, kind, data?.[0]])).toEqual([
      ["pc.ram", 0, "page", 0x11],
      ["pc.ram", 1, "zero", undefined],
      ["pc.ram", 2, "zero", undefined],
      ["pc.ram", 3, "page", 0x22],
      ["rom", 0, "zero", undefined],
      ["rom", 1, "zero", undefined],
    ]);
  });
});

describe("XBZRLE", () => {
  it("replaces runs and keeps the rest", () => {
    const old = repeat(9, 400);
    applyXbzrle(old, bytes(2, 3, 1, 2, 3, 0x80 | 44, 2, 1, 7));
    const expected = repeat(9, 400);
    expected.set([1, 2, 3], 2);
    expected[5 + 300] = 7;
    expect(old).toEqual(expected);
  });

  it.each<[string, Uint8Array, string]>([
    ["an end inside a run", bytes(0, 5, 1, 2), "ERR_EOF"],
    ["more than the page", bytes(0xff, 0x1f, 1, 1), "ERR_RANGE"],
    ["an empty run", bytes(0, 0), "ERR_BAD_BYTE"],
    ["a count of three bytes", bytes(0x80, 0x80, 1), "ERR_BAD_BYTE"],
    ["an end inside a count", bytes(0x80), "ERR_EOF"],
    ["no bytes that stay in between", bytes(1, 1, 1, 0, 1, 1), "ERR_BAD_BYTE"],
  ])("refuses %s", (_name, delta, code) => {
    expect(() => applyXbzrle(repeat(0, 16), delta)).toThrow(expect.objectContaining({ code }));
  });
});
