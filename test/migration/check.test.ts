import { describe, expect, it } from "vitest";
import { type Found, finding } from "../../src/migration/check/findings.ts";
import {
  type CheckFinding,
  type CheckSide,
  checkFindingCodes,
  checkMigration,
  checkSideOf,
  checkSideOfJson,
  type FieldNode,
  readMigrationBytes,
} from "../../src/migration/index.ts";
import { bytes, configuration, end, header } from "./build.ts";
import { listMigrationCaptures } from "./captures.ts";

interface DumpField {
  field: string;
  version_id?: number;
  field_exists?: boolean;
  size?: number;
  num?: number;
  Description?: object;
}

const field = (name: string, more: Partial<DumpField> = {}): DumpField => ({
  field: name,
  version_id: 0,
  field_exists: false,
  size: 4,
  ...more,
});

function body(name: string, fields: DumpField[], more: object = {}): object {
  return { name, version_id: 1, minimum_version_id: 1, Fields: fields, ...more };
}

/** What -dump-vmstate writes for one device model. */
function dump(description: object, more: object = {}, machine = "pc-q35-10.0"): string {
  return JSON.stringify({
    vmschkmachine: { Name: machine },
    nic: { Name: "nic", version_id: 1, minimum_version_id: 1, Description: description, ...more },
  });
}

function check(source: string, destination: string): CheckFinding[] {
  return checkMigration(checkSideOfJson(source), checkSideOfJson(destination));
}

const brief = (findings: readonly CheckFinding[]) =>
  findings.map(({ severity, code, section, path }) => `${severity} ${code} ${section} ${path}`.trimEnd());

const plain = body("nic", [field("a"), field("b"), field("c", { num: 4 })]);

it("every code is in the table of findings", () => {
  const entries = Object.values(finding) as readonly ((...facts: readonly unknown[]) => Found)[];
  expect([...new Set(entries.map((entry) => entry("a", 1, 2).code))].sort()).toEqual([...checkFindingCodes].sort());
});

describe("checkMigration with -dump-vmstate files", () => {
  it("finds nothing when nothing changed", () => {
    expect(check(dump(plain), dump(plain))).toEqual([]);
  });

  it("compares 120,000 fields, also those that moved out of a structure, before the test's time is up", () => {
    const count = 120_000;
    const fields = (prefix: string) => Array.from({ length: count }, (_, i) => field(`${prefix}${i}`));
    const same = (name: string) => dump(body("nic", fields(name)));
    expect(check(same("a"), same("a"))).toEqual([]);
    expect(check(same("a"), same("b"))).toHaveLength(count);
    const inside = dump(body("nic", [field("all", { Description: body("all", fields("a")) })]));
    expect(check(inside, same("a"))).toEqual([]);
  });

  it.each<[string, string, string, string[]]>([
    [
      "a section that is gone",
      dump(plain),
      JSON.stringify({ vmschkmachine: { Name: "pc-q35-10.0" } }),
      ["error section-missing nic"],
    ],
    ["a section that is new", JSON.stringify({ vmschkmachine: { Name: "pc-q35-10.0" } }), dump(plain), []],
    ["another machine", dump(plain), dump(plain, {}, "pc-q35-11.1"), ["warning machine-differs"]],
    ["a version too new", dump(plain, { version_id: 2 }), dump(plain), ["error version-too-new nic"]],
    [
      "a version below the minimum",
      dump(plain),
      dump(plain, { version_id: 3, minimum_version_id: 2 }),
      ["error version-too-old nic"],
    ],
    [
      "a description's version too new",
      dump(body("nic", [], { version_id: 2 })),
      dump(body("nic", [])),
      ["error version-too-new nic"],
    ],
    ["another description", dump(plain), dump(body("net", [])), ["error description-differs nic"]],
    ["a missing description", dump(plain), dump(plain, { Description: undefined }), ["error description-missing nic"]],
    [
      "a field that is gone",
      dump(plain),
      dump(body("nic", [field("a"), field("c", { num: 4 })])),
      ["error field-missing nic b"],
    ],
    [
      "a last field that is gone",
      dump(plain),
      dump(body("nic", [field("a"), field("b")])),
      ["error field-missing nic c"],
    ],
    [
      "a field that is new",
      dump(plain),
      dump(body("nic", [field("a"), field("x"), field("b"), field("c", { num: 4 })])),
      ["error field-unexpected nic x"],
    ],
    [
      "a new field that older versions lack",
      dump(plain),
      dump(
        body("nic", [field("a"), field("x", { version_id: 2 }), field("b"), field("c", { num: 4 })], { version_id: 2 }),
      ),
      [],
    ],
    [
      "a new field behind a test",
      dump(plain),
      dump(body("nic", [field("a"), field("x", { field_exists: true }), field("b"), field("c", { num: 4 })])),
      [],
    ],
    [
      "another size",
      dump(plain),
      dump(body("nic", [field("a", { size: 8 }), field("b"), field("c", { num: 4 })])),
      ["error size-differs nic a"],
    ],
    [
      "another length of an array",
      dump(plain),
      dump(body("nic", [field("a"), field("b"), field("c", { num: 5 })])),
      ["error size-differs nic c"],
    ],
    [
      "a field with another name",
      dump(plain),
      dump(body("nic", [field("a"), field("unused"), field("c", { num: 4 })])),
      ["warning field-renamed nic b"],
    ],
    [
      "other fields altogether",
      dump(plain),
      dump(body("nic", [field("a"), field("x", { size: 2 }), field("y", { size: 2 })])),
      ["error field-differs nic b"],
    ],
    [
      "fields that moved into a structure",
      dump(plain),
      dump(
        body("nic", [
          field("state", { size: 8, Description: body("state", [field("a"), field("b")]) }),
          field("c", { num: 4 }),
        ]),
      ),
      [],
    ],
    [
      "fields that moved out of a structure",
      dump(
        body("nic", [
          field("state", { size: 8, Description: body("state", [field("a"), field("b")]) }),
          field("c", { num: 4 }),
        ]),
      ),
      dump(plain),
      [],
    ],
    [
      "a nested version too new",
      dump(body("nic", [field("s", { Description: body("s", [], { version_id: 3 }) })])),
      dump(body("nic", [field("s", { Description: body("s", []) })])),
      ["error version-too-new nic s"],
    ],
    [
      "a field that begins to exist later",
      dump(plain),
      dump(body("nic", [field("a"), field("b", { version_id: 2 }), field("c", { num: 4 })], { version_id: 2 })),
      ["error field-missing nic b"],
    ],
    [
      "a subsection that is gone",
      dump(body("nic", [], { Subsections: [body("nic/x", [])] })),
      dump(body("nic", [])),
      ["error subsection-missing nic nic/x"],
    ],
    [
      "a subsection's field that is gone",
      dump(body("nic", [], { Subsections: [body("nic/x", [field("a"), field("b")])] })),
      dump(body("nic", [], { Subsections: [body("nic/x", [field("a")])] })),
      ["error field-missing nic nic/x/b"],
    ],
  ])("names %s", (_name, source, destination, expected) => {
    expect(brief(check(source, destination))).toEqual(expected);
  });

  it.each<[string, string, RegExp]>([
    ["no JSON", "QEMU", /expected a JSON value/],
    ["an empty object", "{}", /neither a stream's description nor a -dump-vmstate file/],
    ["a version that is none", dump(plain, { version_id: "1" }), /"version_id" must be an integer/],
  ])("refuses %s with its place", (_name, text, message) => {
    expect(() => checkSideOfJson(text)).toThrow(message);
  });
});

describe("checkMigration with streams' descriptions", () => {
  interface VmdescField {
    name: string;
    type: string;
    size: number;
    array_len?: number;
    struct?: object;
  }
  const vmdesc = (fields: VmdescField[], more: object = {}) =>
    JSON.stringify({
      page_size: 4096,
      devices: [{ name: "nic", instance_id: 0, vmsd_name: "nic", version: 1, fields, ...more }],
    });
  const one = (name: string, type: string, size: number, array_len?: number): VmdescField =>
    array_len === undefined ? { name, type, size } : { name, type, size, array_len };
  const inside = (fields: VmdescField[]): VmdescField => ({
    name: "state",
    type: "struct",
    size: fields.reduce((sum, { size, array_len = 1 }) => sum + size * array_len, 0),
    struct: { vmsd_name: "state", version: 1, fields },
  });

  it.each<[string, VmdescField[], VmdescField[], string[]]>([
    [
      "bytes that were split",
      [one("all", "buffer", 100)],
      [one("a", "buffer", 32), one("b", "uint8", 1), one("rest", "unused_buffer", 67)],
      [],
    ],
    ["bytes that were merged", [one("a", "buffer", 32), one("b", "uint32", 4, 2)], [one("all", "buffer", 40)], []],
    [
      "other names",
      [one("a", "uint32", 4), one("b", "uint16", 2)],
      [one("x", "uint32", 4), one("unused[1]", "uint16", 2)],
      [],
    ],
    ["signed and unsigned, compared or not", [one("a", "int32 equal", 4)], [one("a", "uint32 equal", 4)], []],
    [
      "fields that moved into a structure",
      [one("a", "uint32", 4), one("b", "uint8", 1)],
      [inside([one("a", "uint32", 4)]), one("b", "uint8", 1)],
      [],
    ],
    ["an array that became fields", [one("a", "uint16", 2, 3)], [one("x", "uint16", 2), one("y", "uint16", 2, 2)], []],
    [
      "an array of another length",
      [one("a", "uint16", 2, 3)],
      [one("a", "uint16", 2, 4)],
      ["warning count-differs nic a"],
    ],
    ["a number of another width", [one("a", "uint16", 2)], [one("a", "uint32", 4)], ["error type-differs nic a"]],
    [
      "a field more",
      [one("a", "uint16", 2)],
      [one("a", "uint16", 2), one("b", "uint8", 1)],
      ["error field-unexpected nic b"],
    ],
    [
      "a field less",
      [one("a", "uint16", 2), one("b", "uint8", 1)],
      [one("a", "uint16", 2)],
      ["error field-missing nic b"],
    ],
  ])("%s", (_name, source, destination, expected) => {
    expect(brief(check(vmdesc(source), vmdesc(destination)))).toEqual(expected);
  });

  it("takes the one of two subsections of a name that fits", () => {
    const twice = dump(
      body("card", [], {
        Subsections: [body("card/modes", [field("a", { size: 8 })]), body("card/modes", [field("b"), field("c")])],
      }),
    );
    expect(check(twice, twice)).toEqual([]);
  });
});

describe("checkMigration with values", () => {
  const node = (name: string, type: string, value: unknown, fields?: FieldNode[]): FieldNode => ({
    name,
    type,
    offset: 0,
    size: 0,
    value,
    fields,
  });
  const nic = { name: "nic", version: 1, minimumVersion: undefined, fields: [], subsections: [] };
  const side = (name: string, values: FieldNode[] = [], more: Partial<CheckSide> = {}): CheckSide => ({
    kind: "stream",
    machine: "pc",
    pageSize: 4096,
    capabilities: [],
    blocks: [],
    sections: [{ name, version: 1, minimumVersion: undefined, body: nic, values }],
    ...more,
  });
  const virtio = (status: number, features: number) => [
    node("virtio", "virtio", undefined, [
      node("pci", "struct", undefined, []),
      node("status", "uint8", status),
      node("guest_features", "uint32", undefined, [node("bits", "uint32", features)]),
    ]),
  ];
  const ring = 0x3000_0000;

  it.each<[string, CheckSide, CheckSide, string[]]>([
    ["another UUID", side("nic", [], { uuid: "1" }), side("nic", [], { uuid: "2" }), ["error uuid-differs"]],
    ["a UUID that only the source has", side("nic", [], { uuid: "1" }), side("nic"), []],
    [
      "a value that must be equal",
      side("nic", [node("id", "uint8 equal", 2)]),
      side("nic", [node("id", "uint8 equal", 1)]),
      ["error value-differs nic id"],
    ],
    [
      "a value that is too large",
      side("nic", [node("id", "int32 le", 2)]),
      side("nic", [node("id", "int32 le", 1)]),
      ["error value-differs nic id"],
    ],
    [
      "a run state that no QEMU has",
      side("globalstate", [node("runstate", "buffer", new TextEncoder().encode("rolling\0"))]),
      side("globalstate"),
      ["error run-state-unknown globalstate runstate"],
    ],
    ["a section that is never sent any more", side("audio"), side("nic", [], { sections: [] }), []],
    [
      "a feature that an operating system would have taken",
      side("virtio-net", virtio(15, ring + 0x8000)),
      side("virtio-net", virtio(15, ring)),
      ["error virtio-feature-missing virtio-net virtio/guest_features/VIRTIO_NET_F_MRG_RXBUF"],
    ],
    [
      "a feature that other firmware leaves out",
      side("virtio-net", virtio(15, 0x8020)),
      side("virtio-net", virtio(15, 0x20)),
      ["warning virtio-feature-missing virtio-net virtio/guest_features/VIRTIO_NET_F_MRG_RXBUF"],
    ],
    [
      "a feature where no driver has run",
      side("virtio-net", virtio(15, ring + 0x8000)),
      side("virtio-net", virtio(0, 0)),
      [
        "warning virtio-feature-missing virtio-net virtio/guest_features/VIRTIO_NET_F_MRG_RXBUF",
        "warning virtio-feature-missing virtio-net virtio/guest_features/VIRTIO_RING_F_INDIRECT_DESC",
        "warning virtio-feature-missing virtio-net virtio/guest_features/VIRTIO_RING_F_EVENT_IDX",
      ],
    ],
  ])("%s", (_name, source, destination, expected) => {
    expect(brief(checkMigration(source, destination))).toEqual(expected);
  });
});

describe("checkMigration with streams", () => {
  const captures = listMigrationCaptures();
  const sideOf = (name: string) => {
    const capture = captures.find((one) => one.name === name);
    if (capture === undefined) throw new Error(`${name} is missing`);
    return checkSideOf(readMigrationBytes(capture.bytes, { offset: capture.offset }));
  };

  it("finds nothing between a stream and itself, or its own description", () => {
    for (const { bytes: input, offset } of captures) {
      const migration = readMigrationBytes(input, { offset });
      const side = checkSideOf(migration);
      expect(checkMigration(side, side)).toEqual([]);
      const fromJson = checkSideOfJson(migration.vmdescription?.text ?? "");
      // Iterative sections are not in the description.
      expect(checkMigration(side, fromJson).filter(({ section }) => section !== "ram")).toEqual([]);
    }
  });

  it("finds what another machine lacks", () => {
    const findings = checkMigration(sideOf("cpr-main-pc-linux-nvme-11.1"), sideOf("cpr-main-pc-firmware-11.1"));
    expect(brief(findings)).toContain("error section-missing 0000:00:03.0/nvme");
    const other = checkMigration(sideOf("cpr-main-microvm-10.0"), sideOf("cpr-main-pc-firmware-11.1"));
    expect(brief(other)[0]).toBe("error machine-differs");
    expect(other.some(({ code }) => code === "section-missing")).toBe(true);
    expect(brief(other)).toContain("error ram-size-differs ram pc.bios");
  });

  it("looks a stream's devices up in a dump by their description's name", () => {
    const side = sideOf("cpr-main-pc-linux-nvme-11.1");
    const nvme = {
      Name: "nvme",
      version_id: 0,
      minimum_version_id: 0,
      Description: body("nvme", [], { version_id: 0 }),
    };
    const findings = checkMigration(
      side,
      checkSideOfJson(JSON.stringify({ vmschkmachine: { Name: "pc-i440fx-11.1" }, nvme })),
    );
    expect(brief(findings)).toEqual(["error version-too-new 0000:00:03.0/nvme"]);
  });

  it("needs the stream's description", () => {
    const bare = readMigrationBytes(bytes(header, configuration("test"), end()));
    expect(() => checkSideOf(bare)).toThrow(/no JSON description/);
  });
});
