import { describe, expect, it } from "vitest";
import { type Migration, migrationToJson, readMigration, readMigrationBytes } from "../../src/migration/index.ts";
import {
  be16,
  be32,
  blockList,
  bytes,
  command,
  configuration,
  counted,
  device,
  end,
  entry,
  eos,
  footer,
  further,
  header,
  type Part,
  repeat,
  vmdesc,
} from "./build.ts";
import { chunksOf } from "./captures.ts";

const read = (...parts: readonly Part[]): Migration =>
  readMigrationBytes(bytes(header, configuration("test"), ...parts));
const uint32 = (name: string, more: object = {}): object => ({ name, type: "uint32", size: 4, ...more });
const timer = device("timer", [uint32("a"), uint32("b")]);
const timerSection = entry(4, 1, "timer", [be32(7), be32(9)]);

describe("the header", () => {
  it.each<[string, Uint8Array, string, RegExp]>([
    ["another magic", bytes("QCPR", be32(1)), "ERR_BAD_MAGIC", /found 51435052/],
    ["an empty input", bytes(), "ERR_BAD_MAGIC", /found 0 bytes/],
    ["version 2", bytes("QEVM", be32(2)), "ERR_VERSION_TOO_OLD", /version 2/],
    ["version 4", bytes("QEVM", be32(4)), "ERR_VERSION_TOO_NEW", /version 4/],
    ["a multifd channel", bytes(be32(0x11223344), be32(1), repeat(0, 56)), "ERR_BAD_MAGIC", /multifd.*main channel/],
  ])("refuses %s", async (_name, input, code, message) => {
    expect(() => readMigrationBytes(input)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
    await expect(readMigration(chunksOf(input, 3))).rejects.toMatchObject({ code });
  });

  it("refuses an offset that is none", () => {
    expect(() => readMigrationBytes(header, { offset: -1 })).toThrow(/offset/);
  });
});

describe("sections", () => {
  it("decodes a device by the JSON at the end, with offsets", () => {
    const { sections, stopped, problems } = read(timerSection, end(vmdesc(timer)));
    expect([stopped, problems]).toEqual([undefined, []]);
    expect(sections[0]).toMatchObject({ type: "full", id: 1, name: "timer", instance: 0, version: 1, footer: true });
    const start = sections[0]?.bodyOffset ?? 0;
    expect(sections[0]?.fields).toEqual([
      { name: "a", type: "uint32", offset: start, size: 4, value: 7, fields: undefined },
      { name: "b", type: "uint32", offset: start + 4, size: 4, value: 9, fields: undefined },
    ]);
  });

  it("reads a stream without footers by its JSON", () => {
    const { sections, stopped, complete } = read(
      entry(4, 1, "timer", [be32(7), be32(9)], { footer: false }),
      entry(4, 2, "other", be32(1), { footer: false }),
      end(vmdesc(timer, device("other", [uint32("x")]))),
    );
    expect(stopped).toBeUndefined();
    expect(complete).toBe(true);
    expect(sections.map(({ footer, fields }) => [footer, fields.length])).toEqual([
      [false, 2],
      [false, 1],
    ]);
  });

  it("stops at a section that nothing describes in a stream without footers", () => {
    const { stopped } = read(
      entry(4, 1, "timer", [be32(7), be32(9)], { footer: false }),
      entry(4, 2, "unknown", be32(1), { footer: false }),
      end(vmdesc(timer)),
    );
    expect(stopped).toMatchObject({ code: "ERR_BAD_STREAM", path: "unknown" });
    expect(stopped?.message).toMatch(/no footers: where it ends is unknown/);
  });

  it("steps over a section without description, and over an unknown iterative one, by their footers", () => {
    // A footer's first byte, and a footer of this id that no item follows, inside the body.
    const body = [0x7e, 1, 2, footer(3), 0x55, be32(5)];
    const { sections, stopped, complete, problems } = read(
      entry(1, 3, "strange", body),
      further(2, 3, body),
      entry(4, 2, "undescribed", body),
      timerSection,
      end(vmdesc(timer)),
    );
    expect([stopped, problems, complete]).toEqual([undefined, [], true]);
    expect(sections.map(({ name, bodySize, opaque }) => [name, bodySize, opaque?.slice(0, 30)])).toEqual([
      ["strange", 13, "an iterative section whose for"],
      ["strange", 13, "an iterative section whose for"],
      ["undescribed", 13, "the stream's JSON description "],
      ["timer", 8, undefined],
    ]);
  });

  it("notes a body that its description does not fit, and goes on behind its footer", () => {
    const { sections, problems, complete } = read(
      entry(4, 1, "timer", [be32(7), be32(9), 1, 2]),
      entry(4, 2, "other", be32(1)),
      end(vmdesc(timer, device("other", [uint32("x")]))),
    );
    expect(complete).toBe(true);
    expect(problems.map(({ code, path }) => [code, path])).toEqual([["ERR_TRAILING_BYTES", "timer"]]);
    expect(sections.map(({ fields }) => fields.length)).toEqual([2, 1]);
  });

  it("notes a damaged footer, and goes on", () => {
    const other = device("other", [uint32("x")]);
    const damaged = bytes(timerSection.subarray(0, timerSection.length - 5), 0x7e, be32(99));
    const { problems, sections, complete } = read(damaged, entry(4, 2, "other", be32(1)), end(vmdesc(timer, other)));
    expect(complete).toBe(true);
    expect(sections.map(({ fields, opaque }) => [fields.length, opaque])).toEqual([
      [2, undefined],
      [1, undefined],
    ]);
    expect(problems.map(({ path, reason }) => [path, reason])).toEqual([
      ["timer", "expected the footer of section 1 (7e and its id), found one of section 99"],
    ]);
  });

  it("notes the field at which a body goes wrong", () => {
    const flags = device("flags", [
      { name: "first", type: "bool", size: 1 },
      {
        name: "inner",
        type: "struct",
        size: 2,
        struct: { vmsd_name: "inner", version: 1, fields: [{ name: "on", array_len: 2, type: "bool", size: 1 }] },
      },
    ]);
    const { problems, sections } = read(entry(4, 1, "flags", [1, 0, 7]), end(vmdesc(flags)));
    expect(problems[0]).toMatchObject({ code: "ERR_BAD_BYTE", path: "flags/inner/inner/on[1]" });
    expect(problems[0]?.offset).toBe((sections[0]?.bodyOffset ?? 0) + 2);
    expect(sections[0]?.fields.map(({ name }) => name)).toEqual(["first", "inner"]);
  });

  it.each<[string, Uint8Array, string]>([
    ["an unknown item", bytes(0x55), "found the byte 55"],
    ["a section that goes on without a start", further(2, 9, []), "a section continues id 9, which no section started"],
    ["an id that is taken", bytes(timerSection, timerSection), '"timer" has id 1, which "timer" already has'],
    ["an empty name", entry(4, 5, "", []), "a section without a name"],
  ])("stops at %s", (_name, item, message) => {
    expect(read(item, end(vmdesc(timer))).stopped?.message).toContain(message);
  });

  it("joins long runs of PART sections", () => {
    const parts = Array.from({ length: 5000 }, () => further(2, 2, eos));
    const { sections, complete } = read(
      entry(1, 2, "ram", [blockList([["pc.ram", 4096]]), eos]),
      parts,
      further(3, 2, eos),
      end(),
    );
    expect(complete).toBe(true);
    expect(sections.length).toBeLessThan(4100);
    expect(sections.reduce((sum, { count }) => sum + count, 0)).toBe(5002);
  });
});

describe("the JSON description", () => {
  const stream = bytes(header, configuration("test"), timerSection, end(vmdesc(timer)));

  it("is found although bytes follow it, on files and pipes", async () => {
    const longer = bytes(stream, repeat(0, 100), "{}");
    for (const migration of [readMigrationBytes(longer), await readMigration(chunksOf(longer, 10))]) {
      expect(migration.sections[0]?.fields.length).toBe(2);
      expect(migration.size).toBe(stream.length);
    }
  });

  it("is found although a byte of its length is a brace", () => {
    const pad = " ".repeat(0x7b00 - JSON.stringify(vmdesc(timer)).length);
    const padded = JSON.stringify(vmdesc(timer)).replace("{", `{${pad}`);
    expect(padded.length).toBe(0x7b00);
    const { sections } = read(timerSection, end(padded));
    expect(sections[0]?.fields.length).toBe(2);
  });

  it("may be missing: sections stay undecoded, globalstate is known", () => {
    const state = entry(4, 2, "globalstate", [be32(8), "running", repeat(0, 25), 0, 0, repeat(0, 66)]);
    const { sections, complete, stopped } = read(timerSection, state, end());
    expect([complete, stopped]).toEqual([true, undefined]);
    expect(sections[0]?.opaque).toMatch(/JSON description is missing/);
    expect(sections[1]?.fields[1]).toMatchObject({ name: "runstate" });
  });

  it("may come from another stream", () => {
    const cut = bytes(header, configuration("test"), timerSection.subarray(0, timerSection.length - 7));
    const { stopped, sections } = readMigrationBytes(cut, { vmdesc: JSON.stringify(vmdesc(timer)) });
    expect(stopped).toMatchObject({ code: "ERR_EOF", path: "timer/b", offset: cut.length });
    expect(sections[0]?.fields.map(({ name, value }) => [name, value])).toEqual([
      ["a", 7],
      ["b", undefined],
    ]);
  });

  it("is reported when it is damaged", () => {
    const { problems, sections, complete } = read(timerSection, end('{"devices": nonsense}'));
    expect(complete).toBe(true);
    expect(problems[0]?.path).toBe("VMDESCRIPTION");
    expect(sections[0]?.device).toBeUndefined();
  });
});

describe("commands", () => {
  it("reads each with its payload", () => {
    const { commands, problems, stopped } = read(
      command(1),
      command(2, be32(5)),
      command(3, [0x1000n, 0x1000n]),
      command(4),
      command(5),
      command(6, [0, counted("pc.ram"), 0, 0x1000n, 0x2000n]),
      command(8),
      command(9),
      command(10, counted("pc.ram")),
      command(11),
      end(),
    );
    expect([problems, stopped]).toEqual([[], undefined]);
    expect(commands.map(({ name, fields }) => [name, fields.map(({ value }) => value)])).toEqual([
      ["OPEN_RETURN_PATH", []],
      ["PING", [5]],
      ["POSTCOPY_ADVISE", [0x1000n, 0x1000n]],
      ["POSTCOPY_LISTEN", []],
      ["POSTCOPY_RUN", []],
      ["POSTCOPY_RAM_DISCARD", [0, "pc.ram", 0, 0x1000n, 0x2000n]],
      ["ENABLE_COLO", []],
      ["POSTCOPY_RESUME", []],
      ["RECV_BITMAP", ["pc.ram"]],
      ["SWITCHOVER_START", []],
    ]);
  });

  it("skips an unknown command by its length, and one of a wrong length", () => {
    const { commands, problems, complete } = read(command(40, "abc"), command(2, be16(1)), command(11), end());
    expect(complete).toBe(true);
    expect(commands.map(({ name, size }) => [name, size])).toEqual([
      ["command 40", 3],
      ["PING", 2],
      ["SWITCHOVER_START", 0],
    ]);
    expect(problems.map((problem) => problem.reason)).toEqual([
      expect.stringMatching(/unknown command 40/),
      expect.stringMatching(/PING has 2 bytes, which QEMU refuses/),
    ]);
  });

  it("reads the sections of a package", () => {
    const inside = bytes(command(4), timerSection, command(5));
    const { commands, sections, stopped } = read(command(7, be32(inside.length)), inside, end());
    expect(stopped).toBeUndefined();
    expect(commands.map(({ name, packaged }) => [name, packaged])).toEqual([
      ["PACKAGED", false],
      ["POSTCOPY_LISTEN", true],
      ["POSTCOPY_RUN", true],
    ]);
    expect(sections.map(({ name, packaged, bodySize }) => [name, packaged, bodySize])).toEqual([["timer", true, 8]]);
  });

  it("refuses a package that ends inside a section", () => {
    const { stopped } = read(command(7, be32(12)), timerSection, end());
    expect(stopped?.message).toMatch(/the package should end at byte/);
  });
});

describe("iterative sections other than RAM", () => {
  it.each<[string, Uint8Array[], [string, unknown][]]>([
    [
      "dirty-bitmap",
      [
        bytes(0x1c, counted("node0"), counted("bitmap0"), be32(65536), 1, 0x01),
        bytes(0x40, 0n, be32(128), 4n, "abcd", 0x42, 128n, be32(128), 0x01),
        bytes(0x80, 0x20, 0x01),
      ],
      [
        ["node", "node0"],
        ["bitmap", "bitmap0"],
        ["granularity", 65536],
        ["flags", 1],
        ["chunks", 0],
        ["bytes", 0],
        ["chunks", 2],
        ["bytes", 4],
        ["chunks", 0],
        ["bytes", 0],
      ],
    ],
    [
      "s390-storage_attributes",
      [bytes(1n), bytes(0x1002n, 3n, "abc", 8n, 1n), bytes(8n, 1n)],
      [
        ["bytes", 0],
        ["bytes", 3],
        ["bytes", 0],
      ],
    ],
    [
      "spapr/htab",
      [be32(18), bytes(be32(0), be32(4), be16(2), be16(0), repeat(1, 32), repeat(0, 8)), be32(0xffff_ffff)],
      [
        ["shift", 18],
        ["entries", 2],
      ],
    ],
    [
      "0000:00:02.0/vfio",
      [
        bytes(0xffff_ffff_ef10_0003n, 0xffff_ffff_ef10_0001n),
        bytes(0xffff_ffff_ef10_0004n, 3n, "abc", 0xffff_ffff_ef10_0001n),
        bytes(0xffff_ffff_ef10_0002n, "config space", 0xffff_ffff_ef10_0001n),
      ],
      [
        ["bytes", 0],
        ["bytes", 3],
        ["configState", undefined],
        ["bytes", 0],
      ],
    ],
  ])("reads %s", async (name, [start, part, last], expected) => {
    const stream = bytes(
      header,
      entry(1, 4, name, start ?? []),
      further(2, 4, part ?? []),
      further(3, 4, last ?? []),
      end(),
    );
    for (const migration of [readMigrationBytes(stream), await readMigration(chunksOf(stream, 5))]) {
      expect([migration.stopped, migration.problems, migration.complete]).toEqual([undefined, [], true]);
      expect(migration.sections.flatMap(({ fields }) => fields).map((field) => [field.name, field.value])).toEqual(
        expected,
      );
    }
  });

  it.each<[string, Uint8Array]>([
    ["dirty-bitmap", bytes(0x10, be32(1), 0xf8, 1)],
    ["s390-storage_attributes", bytes(4n)],
    ["0000:00:02.0/vfio", bytes(1n)],
  ])("names what is wrong in %s", (name, body) => {
    const { problems, complete } = read(entry(1, 4, name, body), end(vmdesc()));
    expect(complete).toBe(true);
    expect(problems.map(({ code, path }) => [code, path])).toEqual([["ERR_BAD_STREAM", name]]);
  });
});

describe("the result as JSON", () => {
  it("never rounds a number", () => {
    const wide = device("wide", [
      { name: "big", type: "uint64", size: 8 },
      { name: "small", type: "int64", size: 8 },
      { name: "raw", type: "buffer", size: 2 },
    ]);
    const migration = read(entry(4, 1, "wide", [0xffff_ffff_ffff_fffen, 5n, 0xab, 0xcd]), end(vmdesc(wide)));
    const json = JSON.parse(JSON.stringify(migrationToJson(migration)));
    expect(json).toMatchObject({ format: "qevm", version: 3, machine: "test", complete: true });
    expect(json.sections[0].fields.map(({ value }: { value: unknown }) => value)).toEqual([
      "18446744073709551614",
      5,
      "abcd",
    ]);
  });
});

describe("an end byte that comes too early", () => {
  const other = entry(4, 2, "other", be32(1));
  const json = vmdesc(timer, device("other", [uint32("x")]));
  const ram = entry(1, 2, "ram", [blockList([["pc.ram", 4096]]), eos]);
  const wholeRam = [ram, further(3, 2, eos)];

  it.each<[string, Part, RegExp]>([
    ["before a section", [timerSection, 0, other, end(json)], /the stream continues/],
    ["in place of a section's type", [timerSection, 0, other.subarray(1), end(json)], /the stream continues/],
    ["before a section, without a description", [wholeRam, 0, other, end()], /the stream continues/],
    ["in a stream whose description names more", [timerSection, end(json)], /section "other" is missing/],
    ["while RAM is still being sent", [ram, end()], /section "ram" has started, but did not end/],
  ])("is found %s", (_name, part, reason) => {
    const { complete, stopped } = read(part);
    expect(complete).toBe(false);
    expect(stopped?.code).toBe("ERR_BAD_STREAM");
    expect(stopped?.message).toMatch(reason);
  });

  it("is only noted where the description came from another stream", () => {
    const stream = bytes(header, configuration("test"), timerSection, end());
    const { complete, problems } = readMigrationBytes(stream, { vmdesc: JSON.stringify(json) });
    expect(complete).toBe(true);
    expect(problems.map(({ message }) => message)).toEqual([expect.stringMatching(/section "other" is missing/)]);
  });

  it("is not seen in a stream that ends where a file goes on", () => {
    expect(read(timerSection, end(vmdesc(timer)), repeat(0, 4096))).toMatchObject({
      complete: true,
      stopped: undefined,
    });
  });
});

it("a device with more bytes than its description is not written by it", () => {
  const { sections, problems } = read(entry(4, 1, "timer", [be32(7), be32(9), 5]), end(vmdesc(timer)));
  expect(problems.map(({ code }) => code)).toEqual(["ERR_TRAILING_BYTES"]);
  expect(sections[0]?.fields).toHaveLength(2);
  expect(sections[0]?.device?.state).toBeUndefined();
});
