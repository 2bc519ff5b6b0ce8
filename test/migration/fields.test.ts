// The walk over decoded fields, and the choice among them: structures, arrays, subsections, and what is missing.

import { describe, expect, it } from "vitest";
import {
  type FieldNode,
  fieldPath,
  readMigrationBytes,
  sectionLabel,
  selectFields,
  walkFields,
} from "../../src/migration/index.ts";
import { bytes, configuration, counted, device, end, entry, header, vmdesc } from "./build.ts";
import { listMigrationCaptures } from "./captures.ts";

const channel = { vmsd_name: "pit/channel", version: 1, fields: [{ name: "count", type: "uint8", size: 1 }] };
const pit = device(
  "pit",
  [
    { name: "levels", array_len: 2, type: "uint8", size: 1 },
    {
      name: "parent_obj",
      type: "struct",
      size: 2,
      struct: {
        vmsd_name: "parent",
        version: 1,
        fields: [
          { name: "id", type: "uint8", size: 1 },
          { name: "empty", type: "struct", size: 0, struct: { vmsd_name: "empty", version: 1, fields: [] } },
          { name: "on", type: "bool", size: 1 },
        ],
      },
    },
    { name: "channels", index: 0, type: "struct", size: 1, struct: channel },
    { name: "channels", index: 1, type: "struct", size: 1, struct: channel },
  ],
  {
    subsections: [{ vmsd_name: "pit/irq", version: 1, fields: [{ name: "mask", type: "uint8", size: 1 }] }],
  },
);
const body = [7, 8, 1, 1, 20, 21, 5, counted("pit/irq"), 0, 0, 0, 1, 9];

function fieldsOf(content: typeof body): readonly FieldNode[] {
  const stream = bytes(header, configuration("test"), entry(4, 1, "pit", content), end(vmdesc(pit)));
  const { sections, problems } = readMigrationBytes(stream);
  expect(problems).toEqual([]);
  return sections[0]?.fields ?? [];
}

describe("walkFields", () => {
  it("comes to structures, elements and subsections before what is in them, with path and depth", () => {
    const walked = [...walkFields(fieldsOf(body))].map(({ path, depth, field }) => [depth, path, field.value]);
    expect(walked).toEqual([
      [0, "levels", [7, 8]],
      [0, "parent_obj", undefined],
      [1, "parent_obj/id", 1],
      [1, "parent_obj/empty", undefined],
      [1, "parent_obj/on", true],
      [0, "channels", undefined],
      [1, "channels[0]", undefined],
      [2, "channels[0]/count", 20],
      [1, "channels[1]", undefined],
      [2, "channels[1]/count", 21],
      [0, "pit/irq", undefined],
      [1, "pit/irq/mask", 9],
    ]);
  });

  it("goes through no field twice, and none is left out", () => {
    const count = (fields: readonly FieldNode[]): number =>
      fields.reduce((sum, { fields: inside }) => sum + 1 + count(inside ?? []), 0);
    let total = 0;
    for (const { bytes: stream, offset } of listMigrationCaptures()) {
      for (const { fields } of readMigrationBytes(stream, { offset }).sections) {
        const seen = new Set([...walkFields(fields)].map(({ field }) => field));
        expect(seen.size).toBe(count(fields));
        total += seen.size;
      }
    }
    expect(total).toBeGreaterThan(1000);
  });

  it("has nothing to go through where nothing was decoded", () => {
    expect([...walkFields([])]).toEqual([]);
  });

  it("ends where the input broke off", () => {
    const cut = bytes(header, configuration("test"), entry(4, 1, "pit", body).subarray(0, 20));
    const { sections, stopped } = readMigrationBytes(cut, { vmdesc: JSON.stringify(vmdesc(pit)) });
    expect(stopped).toMatchObject({ code: "ERR_EOF", path: "pit/parent_obj/on" });
    const walked = [...walkFields(sections[0]?.fields ?? [])].map(({ path, field }) => [path, field.value]);
    expect(walked).toEqual([
      ["levels", [7, 8]],
      ["parent_obj", undefined],
      ["parent_obj/id", 1],
    ]);
  });
});

describe("selectFields", () => {
  const chosen = (wanted: (path: string) => boolean) =>
    [...walkFields(selectFields(fieldsOf(body), ({ path }) => wanted(path)))].map(({ path }) => path);

  it("takes a field with all that is inside it", () => {
    expect(chosen((path) => path === "channels[1]")).toEqual(["channels", "channels[1]", "channels[1]/count"]);
    expect(chosen((path) => path === "pit/irq")).toEqual(["pit/irq", "pit/irq/mask"]);
  });

  it("keeps of the others what leads to a wanted one", () => {
    expect(chosen((path) => path.endsWith("count"))).toEqual([
      "channels",
      "channels[0]",
      "channels[0]/count",
      "channels[1]",
      "channels[1]/count",
    ]);
  });

  it("gives nothing for a name that is not there, and leaves what it was given alone", () => {
    const fields = fieldsOf(body);
    const before = JSON.stringify(fields);
    expect(selectFields(fields, ({ path }) => path === "prescale")).toEqual([]);
    expect(selectFields(fields, ({ field }) => field.value === 21)).toHaveLength(1);
    expect(JSON.stringify(fields)).toBe(before);
  });

  it("does not ask about what is inside a wanted field", () => {
    const asked: string[] = [];
    selectFields(fieldsOf(body), ({ path, depth }) => {
      asked.push(path);
      return depth === 0;
    });
    expect(asked).toEqual(["levels", "parent_obj", "channels", "pit/irq"]);
  });
});

describe("names", () => {
  it("join a path and a name or an index", () => {
    expect(fieldPath("", "regs")).toBe("regs");
    expect(fieldPath("parent_obj", "config")).toBe("parent_obj/config");
    expect(fieldPath("regs", 3)).toBe("regs[3]");
  });

  it("show a section's instance unless it is 0", () => {
    expect(sectionLabel({ name: "serial", instance: 0 })).toBe("serial");
    expect(sectionLabel({ name: "serial", instance: 1 })).toBe("serial(1)");
  });
});
