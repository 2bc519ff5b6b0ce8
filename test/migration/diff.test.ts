import { describe, expect, it } from "vitest";
import { diffMigrations, type Migration, readMigrationBytes } from "../../src/migration/index.ts";
import {
  be32,
  blockList,
  bytes,
  capabilities,
  configuration,
  counted,
  device,
  end,
  entry,
  eos,
  header,
  type Part,
  vmdesc,
} from "./build.ts";
import { listMigrationCaptures } from "./captures.ts";

const fields = [
  { name: "count", type: "uint32", size: 4 },
  { name: "regs", array_len: 3, type: "uint32", size: 4 },
  { name: "data", type: "buffer", size: 6 },
];
const nic = device("0000:00:03.0/nic", fields);

function stream(
  body: Part,
  more: { json?: object; after?: Part; blocks?: [string, number][]; before?: Part; version?: number } = {},
): Migration {
  const {
    json = nic,
    after = [],
    blocks = [["pc.ram", 8192]],
    before = configuration("pc-q35-10.0"),
    version = 1,
  } = more;
  return readMigrationBytes(
    bytes(
      header,
      before,
      entry(1, 1, "ram", [blockList(blocks), eos], { version: 4 }),
      entry(4, 7, "0000:00:03.0/nic", body, { version }),
      after,
      end(vmdesc(json)),
    ),
  );
}

const body: Part = [be32(1), be32(2), be32(3), be32(4), "abcdef"];

describe("diffMigrations", () => {
  it("finds nothing between a stream and itself", () => {
    expect(diffMigrations(stream(body), stream(body))).toEqual([]);
    for (const { bytes: input, offset } of listMigrationCaptures().slice(0, 4)) {
      expect(diffMigrations(readMigrationBytes(input, { offset }), readMigrationBytes(input, { offset }))).toEqual([]);
    }
  });

  it("shows each value that differs with its offset on both sides", () => {
    const a = stream(body);
    const b = stream([be32(9), be32(2), be32(8), be32(4), "abXXeX"], { after: [] });
    const at = a.sections[1]?.bodyOffset ?? 0;
    const shown = diffMigrations(a, b).map((one) => [one.kind, one.path, one.a?.offset, one.a?.value, one.b?.value]);
    expect(shown).toEqual([
      ["value", "count", at, 1, 9],
      ["value", "regs[1]", at + 8, 3, 8],
      ["value", "data[2..3]", at + 18, bytes("cd"), bytes("XX")],
      ["value", "data[5]", at + 21, bytes("f"), bytes("X")],
    ]);
  });

  it("compares sections by name, whatever their order and id", () => {
    const extra = entry(4, 99, "extra", be32(0));
    const withExtra = stream(body, { after: extra });
    expect(diffMigrations(stream(body), withExtra).map(({ kind, section }) => [kind, section])).toEqual([
      ["section-only-in-b", "extra"],
    ]);
    expect(diffMigrations(withExtra, stream(body)).map(({ kind, section }) => [kind, section])).toEqual([
      ["section-only-in-a", "extra"],
    ]);
  });

  it("shows versions, fields and subsections on one side only", () => {
    const sub = { subsections: [{ vmsd_name: "0000:00:03.0/nic/more", version: 1, fields: [fields[0]] }] };
    const subsection = [5, counted("0000:00:03.0/nic/more"), be32(1), be32(5)];
    const b = stream([body, subsection], { json: device("0000:00:03.0/nic", fields, sub), version: 2 });
    expect(diffMigrations(stream(body), b).map(({ kind, path }) => [kind, path])).toEqual([
      ["section-version", ""],
      ["subsection-only-in-b", "0000:00:03.0/nic/more"],
    ]);
    const fewer = stream(be32(1), { json: device("0000:00:03.0/nic", fields.slice(0, 1)) });
    expect(diffMigrations(stream(body), fewer).map(({ kind, path }) => [kind, path])).toEqual([
      ["field-only-in-a", "regs"],
      ["field-only-in-a", "data"],
    ]);
  });

  it("shows types, lengths, RAM blocks, the machine and its capabilities", () => {
    const typed = stream(body, {
      json: device("0000:00:03.0/nic", [{ ...fields[0], type: "int32" }, ...fields.slice(1)]),
    });
    expect(diffMigrations(stream(body), typed).map(({ kind, a, b }) => [kind, a?.value, b?.value])).toEqual([
      ["type", "uint32", "int32"],
    ]);
    const longer = stream([body, "gh"], {
      json: device("0000:00:03.0/nic", [...fields.slice(0, 2), { ...fields[2], size: 8 }]),
    });
    expect(diffMigrations(stream(body), longer).map(({ kind, a, b }) => [kind, a?.value, b?.value])).toEqual([
      ["length", 6, 8],
    ]);
    const other = stream(body, {
      before: configuration("pc-q35-11.1", capabilities("mapped-ram")),
      blocks: [],
    });
    expect(diffMigrations(stream(body), other).map(({ kind }) => kind)).toEqual([
      "machine",
      "capabilities",
      "block-only-in-a",
    ]);
  });
});
