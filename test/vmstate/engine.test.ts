// Versions, gating, subsections, hooks: the rules around the fields.
import { describe, expect, test } from "vitest";
import {
  accepts,
  CprkitError,
  describe as describeParts,
  existsIf,
  load,
  loadFrom,
  qlist,
  Reader,
  save,
  since,
  struct,
  uint8,
  uint16,
  vmstate,
  vmstateOf,
  vstruct,
} from "../../src/vmstate/index.ts";
import { bytesOf, caught, codeOf, hexOf, invalidTable, validTable } from "./table.ts";

describe("versions", () => {
  const timer = vmstate({
    name: "timer",
    version: 3,
    minimumVersion: 1,
    fields: { irq: uint8(), scale: since(2, uint8()), load: uint8(), mode: since(3, uint8()) },
  });
  validTable("fields by version", timer, [
    { title: "3", state: { irq: 1, scale: 2, load: 3, mode: 4 }, hex: "01020304" },
    { title: "2", state: { irq: 1, scale: 2, load: 3 }, hex: "010203", version: 2 },
    { title: "1", state: { irq: 1, load: 3 }, hex: "0103", version: 1 },
    {
      title: "what an old stream lacks stays as it was",
      state: { irq: 1, scale: 9, load: 3, mode: 8 },
      hex: "0103",
      version: 1,
      into: () => ({ scale: 9, mode: 8 }),
    },
  ]);
  invalidTable("fields by version", timer, [
    { hex: "01020304", version: 4, code: "ERR_VERSION_TOO_NEW", path: "timer", offset: 0 },
    { hex: "01020304", version: 0, code: "ERR_VERSION_TOO_OLD", path: "timer", offset: 0 },
  ]);
  test("accepts", () =>
    expect([0, 1, 3, 4].map((version) => accepts(timer, version))).toEqual([false, true, true, false]));

  test("a nested structure is loaded at its own version, not at its parent's", () => {
    const outer = vmstate({ name: "outer", version: 1, fields: { inner: struct(timer), end: uint8() } });
    expect(load(outer, { bytes: bytesOf("0102030405") }).inner).toEqual({ irq: 1, scale: 2, load: 3, mode: 4 });
  });
  test("a vstruct is loaded and saved at the version its parent chooses", () => {
    const outer = vmstate({ name: "outer", version: 1, fields: { inner: vstruct(timer, 2), end: uint8() } });
    const state = load(outer, { bytes: bytesOf("01020305") });
    expect(state).toEqual({ inner: { irq: 1, scale: 2, load: 3 }, end: 5 });
    expect(hexOf(save(outer, state).bytes)).toBe("01020305");
  });
  test("with a test of its own, a field's version is not asked", () => {
    const asked: number[] = [];
    const mode = vmstate({
      name: "mode",
      version: 5,
      fields: {
        wide: uint8(),
        extra: existsIf(
          ["wide"],
          ({ wide }: { wide: number }, version) => {
            asked.push(version);
            return wide === 1;
          },
          since(9, uint16()),
        ),
      },
    });
    expect(load(mode, { bytes: bytesOf("010203") }, { version: 2 })).toEqual({ wide: 1, extra: 0x0203 });
    expect(load(mode, { bytes: bytesOf("00") })).toEqual({ wide: 0 });
    expect(hexOf(save(mode, { wide: 1, extra: 1 }).bytes)).toBe("010001");
    expect(hexOf(save(mode, { wide: 0, extra: 1 }).bytes)).toBe("00");
    expect(asked).toEqual([2, 5, 5, 5]);
  });
});

const header = (name: string, version = 1) =>
  `05 ${name.length.toString(16).padStart(2, "0")} ${hexOf(Buffer.from(name))} ${version.toString(16).padStart(8, "0")}`;

describe("subsections", () => {
  const deep = vmstate({ name: "dev/a/deep", version: 1, fields: { z: uint8() } });
  const a = vmstate({
    name: "dev/a",
    version: 2,
    minimumVersion: 1,
    fields: { x: uint8(), more: since(2, uint8()) },
    subsections: { deep },
  });
  const b = vmstate({ name: "dev/b", version: 1, fields: { y: uint8() } });
  const dev = vmstate({ name: "dev", version: 1, fields: { v: uint8() }, subsections: { a, b } });
  const bytesA = `${header("dev/a", 2)} 07 08`;
  const bytesB = `${header("dev/b")} 09`;

  validTable("nested", dev, [
    { title: "none", state: { v: 1 }, hex: "01" },
    { title: "one", state: { v: 1, b: { y: 9 } }, hex: `01 ${bytesB}`, wholeAt: [1] },
    {
      title: "both, and one within",
      state: { v: 1, a: { x: 7, more: 8, deep: { z: 10 } }, b: { y: 9 } },
      hex: `01 ${bytesA} ${header("dev/a/deep")} 0a ${bytesB}`,
      // Where a subsection ends, the rest may be missing.
      wholeAt: [1, 14, 31],
    },
    {
      title: "in any order, saved in the description's",
      state: { v: 1, a: { x: 7, more: 8 }, b: { y: 9 } },
      hex: `01 ${bytesB} ${bytesA}`,
      saved: `01 ${bytesA} ${bytesB}`,
      wholeAt: [1, 13],
    },
    {
      title: "of an older version",
      state: { v: 1, a: { x: 7 } },
      hex: `01 ${header("dev/a", 1)} 07`,
      version: 1,
      wholeAt: [1],
    },
    {
      title: "the last of two wins",
      state: { v: 1, b: { y: 8 } },
      hex: `01 ${bytesB} ${header("dev/b")} 08`,
      saved: `01 ${header("dev/b")} 08`,
      wholeAt: [1, 13],
    },
  ]);
  invalidTable("nested", dev, [
    {
      title: "unknown, with the parent's name before it",
      hex: `01 ${header("dev/c")} 00`,
      code: "ERR_UNKNOWN_SUBSECTION",
      path: "dev",
      offset: 1,
    },
    {
      title: "unknown without a slash",
      hex: `01 ${header("devX")}`,
      code: "ERR_UNKNOWN_SUBSECTION",
      path: "dev",
      offset: 1,
    },
    {
      title: "too new",
      hex: `01 ${header("dev/b", 2)} 00`,
      code: "ERR_VERSION_TOO_NEW",
      path: "dev/dev/b",
      offset: 12,
    },
    {
      title: "a version above 255",
      hex: `01 ${header("dev/b", 257)} 00`,
      code: "ERR_RANGE",
      path: "dev/dev/b",
      offset: 8,
    },
    {
      title: "cut in its version",
      hex: `01 05 05 ${hexOf(Buffer.from("dev/b"))} 0000`,
      code: "ERR_EOF",
      path: "dev/dev/b",
      offset: 8,
    },
    { title: "cut in its body", hex: `01 ${header("dev/b")}`, code: "ERR_EOF", path: "dev/dev/b/y", offset: 12 },
    { state: { v: 1, b: { y: 256 } }, code: "ERR_VALUE", path: "dev/dev/b/y" },
  ]);

  test.each([
    ["another's name", "01 05 05 6f74686572", 1],
    ["the parent's name alone", "01 05 03 646576", 1],
    ["a name cut short", "01 05 05 6465762f", 1],
    ["05 at the end", "01 05", 1],
    ["another byte", "01 04", 1],
  ])("%s: nothing is consumed", (_title, hex, consumed) => {
    const reader = new Reader({ bytes: bytesOf(hex) });
    expect(loadFrom(reader, dev)).toEqual({ v: 1 });
    expect(reader.pos).toBe(consumed);
  });

  test("a reader that goes on after a fault nests no deeper", () => {
    const outer = vmstate({ name: "outer", version: 1, fields: { inner: struct(dev) } });
    const reader = new Reader({ bytes: new Uint8Array(0) });
    for (let i = 0; i < 200; i++) expect(codeOf(caught(() => loadFrom(reader, outer)))).toBe("ERR_EOF");
  });

  test("what does not belong to an inner structure is offered to its parent", () => {
    const inner = vmstate({ name: "inner", version: 1, fields: { i: uint8() } });
    const outer = vmstate({
      name: "outer",
      version: 1,
      fields: { inner: struct(inner) },
      subsections: { sub: vmstate({ name: "outer/sub", version: 1, fields: { s: uint8() } }) },
    });
    expect(load(outer, { bytes: bytesOf(`01 ${header("outer/sub")} 02`) })).toEqual({ inner: { i: 1 }, sub: { s: 2 } });
  });

  test("CprState's empty vfio list, byte for byte", () => {
    const entry = vmstate({ name: "vfio device", version: 1, fields: { v: uint8() } });
    const vfio = vmstate({ name: "CprState/vfio devices", version: 1, fields: { devices: qlist(entry) } });
    const cpr = vmstate({ name: "CprState", version: 1, fields: {}, subsections: { vfio } });
    const hex = "05 15 43707253746174652f7666696f2064657669636573 00000001 00";
    expect(load(cpr, { bytes: bytesOf(hex) })).toEqual({ vfio: { devices: [] } });
    expect(hexOf(save(cpr, { vfio: { devices: [] } }).bytes)).toBe(hex.replaceAll(" ", ""));
  });

  test("needed() decides on save, and is not asked on load", () => {
    let asked = 0;
    const chosen = vmstate({
      name: "dev",
      version: 1,
      fields: { v: uint8() },
      subsections: { b },
      needed: {
        b: ({ v }) => {
          asked++;
          return v === 1;
        },
      },
    });
    expect(hexOf(save(chosen, { v: 0, b: { y: 9 } }).bytes)).toBe("00");
    expect(hexOf(save(chosen, { v: 1, b: { y: 9 } }).bytes)).toBe(`01${bytesB}`.replaceAll(" ", ""));
    expect(asked).toBe(2);
    expect(load(chosen, { bytes: bytesOf(`00 ${bytesB}`) })).toEqual({ v: 0, b: { y: 9 } });
    expect(asked).toBe(2);
    expect(caught(() => save(chosen, { v: 1 }))).toMatchObject({ code: "ERR_VALUE", path: "dev/dev/b/y" });
  });
});

describe("hooks", () => {
  const calls: string[] = [];
  const hooked = <const Name extends string>(name: Name) => ({
    name,
    version: 1,
    preLoad: () => void calls.push(`${name} preLoad`),
    postLoad: (_state: unknown, version: number) => void calls.push(`${name} postLoad ${version}`),
    preSave: () => void calls.push(`${name} preSave`),
    postSave: () => void calls.push(`${name} postSave`),
  });
  const inner = vmstate({ ...hooked("inner"), fields: { i: uint8() } });
  const sub = vmstate({ ...hooked("outer/sub"), fields: { s: uint8() } });
  const outer = vmstate({ ...hooked("outer"), fields: { inner: struct(inner) }, subsections: { sub } });

  test("run in QEMU's order", () => {
    calls.length = 0;
    const { bytes } = save(outer, { inner: { i: 1 }, sub: { s: 2 } });
    expect(calls.splice(0)).toEqual([
      "outer preSave",
      "inner preSave",
      "inner postSave",
      "outer/sub preSave",
      "outer/sub postSave",
      "outer postSave",
    ]);
    load(outer, { bytes });
    expect(calls).toEqual([
      "outer preLoad",
      "inner preLoad",
      "inner postLoad 1",
      "outer/sub preLoad",
      "outer/sub postLoad 1",
      "outer postLoad 1",
    ]);
  });

  test("postSave runs when a field failed, and its own error does not hide the field's", () => {
    const failing = vmstate({
      name: "f",
      version: 1,
      fields: { v: uint8() },
      postSave: () => {
        calls.push("postSave");
        throw new Error("second");
      },
    });
    calls.length = 0;
    expect(caught(() => save(failing, { v: 256 }))).toMatchObject({ code: "ERR_VALUE", path: "f/v" });
    expect(calls).toEqual(["postSave"]);
    expect(caught(() => save(failing, { v: 1 }))).toMatchObject({ code: "ERR_HOOK", path: "f" });
  });

  test("a preSave that throws ends the save, without postSave", () => {
    calls.length = 0;
    const failing = vmstate({
      ...hooked("f"),
      fields: { v: uint8() },
      preSave: () => {
        throw new Error("no");
      },
    });
    const error = caught(() => save(failing, { v: 1 }));
    expect(error).toMatchObject({ code: "ERR_HOOK", path: "f" });
    expect(String(error)).toContain("pre_save failed: no");
    expect(calls).toEqual([]);
  });

  test.each([
    ["preLoad", 0],
    ["postLoad", 1],
  ] as const)("a %s that throws gives ERR_HOOK with the cause", (hook, offset) => {
    const cause = new Error("no memory slot");
    const failing = vmstate({
      name: "f",
      version: 1,
      fields: { v: uint8() },
      [hook]: () => {
        throw cause;
      },
    });
    const error = caught(() => load(failing, { bytes: bytesOf("01") }));
    expect(error).toMatchObject({ code: "ERR_HOOK", path: "f", offset, cause });
    expect(String(error)).toContain("no memory slot");
  });

  test("a hook's own CprkitError stays what it is", () => {
    const failing = vmstate({
      name: "f",
      version: 1,
      fields: { v: uint8() },
      postLoad: () => {
        throw new CprkitError("ERR_RANGE", "too much");
      },
    });
    expect(caught(() => load(failing, { bytes: bytesOf("01") }))).toMatchObject({ code: "ERR_RANGE", path: "f" });
  });

  test("preLoad sets what old streams lack; live state stays beside the fields", () => {
    const counted = vmstateOf<{ seen: number }>()({
      name: "c",
      version: 2,
      fields: { a: uint8(), b: since(2, uint8()) },
      preLoad: (state) => {
        state.b = 7;
      },
      postLoad: (state) => {
        state.seen = state.a + (state.b ?? 0);
      },
    });
    expect(load(counted, { bytes: bytesOf("01") }, { version: 1 })).toEqual({ a: 1, b: 7, seen: 8 });
  });
});

describe("descriptions that cannot work", () => {
  const v = uint8();
  test.each<[string, () => unknown]>([
    ["a version below the minimum", () => vmstate({ name: "d", version: 1, minimumVersion: 2, fields: {} })],
    ["a negative version", () => vmstate({ name: "d", version: -1, fields: {} })],
    ["half a version", () => vmstate({ name: "d", version: 1.5, fields: {} })],
    // @ts-expect-error integer-like names would be reordered
    ["an integer-like name", () => vmstate({ name: "d", version: 1, fields: { 1: v } })],
    ["__proto__", () => vmstate({ name: "d", version: 1, fields: { ["__proto__"]: v } })],
    [
      "a subsection without the parent's name",
      () =>
        vmstate({
          name: "d",
          version: 1,
          fields: {},
          subsections: { s: vmstate({ name: "x/s", version: 1, fields: {} }) },
        }),
    ],
    [
      "a subsection of the parent's own name",
      () =>
        vmstate({
          name: "d",
          version: 1,
          fields: {},
          subsections: { s: vmstate({ name: "d", version: 1, fields: {} }) },
        }),
    ],
    [
      "a field and a subsection of one key",
      () =>
        vmstate({
          name: "d",
          version: 1,
          fields: { s: v },
          subsections: { s: vmstate({ name: "d/s", version: 1, fields: {} }) },
        }),
    ],
    [
      "a name twice",
      () =>
        describeParts({
          name: "d",
          version: 1,
          minimumVersion: 0,
          fields: [
            { name: "a", field: v },
            { name: "a", field: v },
          ],
          subsections: [],
        }),
    ],
  ])("%s", (_title, make) => {
    expect(codeOf(caught(make))).toBe("ERR_DESCRIPTION");
  });
});
