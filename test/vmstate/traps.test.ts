// What is easily written wrong is said when it is written: by the compiler, or by vmstate().

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { compile } from "../../src/vmstate/compile/index.ts";
import {
  array,
  buffer,
  capability,
  existsIf,
  fd,
  ghash,
  ghashDirectKey,
  gtreeDirectKey,
  int32Le,
  load,
  qlist,
  type StateOf,
  save,
  since,
  uint8,
  uint16,
  uint64,
  unusedBuffer,
  validate,
  varray,
  vmstate,
  vstruct,
  withTmp,
} from "../../src/vmstate/index.ts";
import { repoRoot } from "../support/cli.ts";
import { caught, codeOf, hexOf } from "./table.ts";

describe("a misspelt field", () => {
  const refused = (make: () => unknown) => {
    const error = caught(make);
    expect(codeOf(error)).toBe("ERR_DESCRIPTION");
    expect(String(error)).toMatch(/field "x" needs "flgas", which does not come before it/);
  };

  test("of existsIf, validate and a count is an error, not a field that is never there", () => {
    const describing = (x: Parameters<typeof existsIf>[2]) => () =>
      vmstate({ name: "d", version: 0, fields: { flags: uint8(), x } });
    refused(describing(existsIf(["flgas"], ({ flgas }: { flgas: number }) => flgas === 1, uint8())));
    refused(describing(validate(["flgas"], ({ flgas }: { flgas: number }) => flgas === 1)));
    refused(describing(varray("flgas", uint8())));
  });

  test("is an error of the compiler where only one place has it", () => {
    // @ts-expect-error: not among the names of the test's parameter.
    existsIf(["flgas"], ({ flags }: { flags: number }) => flags === 1, uint8());
    // @ts-expect-error: as above.
    validate(["flgas"], ({ flags }: { flags: number }) => flags === 1);
    // @ts-expect-error: a test that names nothing sees nothing.
    existsIf([], ({ flags }) => flags === 1, uint8());
  });
});

describe("since", () => {
  const device = vmstate({
    name: "d",
    version: 2,
    fields: {
      irq: uint8(),
      count: since(2, uint16()),
      big: since(2, uint64()),
      bytes: since(2, buffer(2)),
      list: since(2, qlist(vmstate({ name: "e", version: 0, fields: { v: uint8() } }))),
      speed: since(2, uint8(), 9),
    },
  });

  test("a state that an older stream was loaded into is saved, with zero or what was given", () => {
    const state: StateOf<typeof device> = load(device, { bytes: Uint8Array.of(5) }, { version: 1 });
    expect(state).toEqual({ irq: 5 });
    expect(hexOf(save(device, state).bytes)).toBe("05" + "0000" + "0000000000000000" + "0000" + "00" + "09");
  });

  test.each([["fd", since(1, fd())]] as const)("a kind that has no zero says so: %s", (type, field) => {
    const error = caught(() => save(vmstate({ name: "d", version: 1, fields: { x: field } }), {}));
    expect(codeOf(error)).toBe("ERR_VALUE");
    expect(String(error)).toMatch(
      new RegExp(`d/x.*no value, and a ${type}.* has none by default: give one to since\\(\\)`),
    );
  });
});

test("a kind without its brackets is named", () => {
  // @ts-expect-error: uint8() is the field.
  const error = caught(() => vmstate({ name: "d", version: 0, fields: { irq: uint8 } }));
  expect(codeOf(error)).toBe("ERR_DESCRIPTION");
  expect(String(error)).toContain('description "d": field "irq" is the function uint8 itself: call it, uint8()');
  // @ts-expect-error: not a field either.
  expect(codeOf(caught(() => vmstate({ name: "d", version: 0, fields: { irq: {} } })))).toBe("ERR_DESCRIPTION");
});

test("the compiler's messages show a state as its members", () => {
  const folder = join(repoRoot, ".cache");
  mkdirSync(folder, { recursive: true });
  const project = mkdtempSync(join(folder, "messages-"));
  try {
    writeFileSync(
      join(project, "wrong.ts"),
      `import { type StateOf, since, uint8, uint64, vmstate } from "../../src/vmstate/index.ts";
const device = vmstate({ name: "d", version: 2, fields: { irq: uint8(), load: since(2, uint64()) } });
export const state: StateOf<typeof device> = { irq: "1" };
export const none: StateOf<typeof device> = 5;
`,
    );
    const config = { extends: "../../tsconfig.base.json", include: ["wrong.ts"] };
    const compilerOptions = { composite: false, declaration: false, noEmit: true, rootDir: "../.." };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ ...config, compilerOptions }));
    const tsc = join(repoRoot, "node_modules/typescript/bin/tsc");
    const { stdout } = spawnSync(process.execPath, [tsc, "-p", project], { encoding: "utf8", timeout: 60_000 });
    expect(stdout).toContain("Type 'string' is not assignable to type 'number'");
    expect(stdout).toMatch(/Type 'number' is not assignable to type '\{ irq: number; load\?: bigint \| undefined; \}'/);
    expect(stdout).not.toMatch(/Flat|& \{\}/);
  } finally {
    rmSync(project, { recursive: true, force: true });
  }
});

test("a field that no version of its description has is refused: its value would be lost without a word", () => {
  const cell = vmstate({ name: "cell", version: 4, minimumVersion: 4, fields: { x: uint8() } });
  for (const lost of [since(3, uint8()), qlist(cell, { version: 4 })]) {
    const error = caught(() => vmstate({ name: "d", version: 2, fields: { lost } }));
    expect(codeOf(error)).toBe("ERR_DESCRIPTION");
    expect(String(error)).toMatch(/field "lost" exists from version [34] on, but the description has version 2/);
  }
});

describe("what could be saved and not loaded again is refused", () => {
  const refused = (make: () => unknown, why: RegExp) => {
    const error = caught(make);
    expect(codeOf(error)).toBe("ERR_DESCRIPTION");
    expect(String(error)).toMatch(why);
  };
  const one = vmstate({ name: "one", version: 1, minimumVersion: 1, fields: { a: uint8() } });

  test("a hash, list, tree or tmp whose elements have another version than is loaded", () => {
    const tooOld = /"one" would be loaded at version 0.*accepts 1; give the field \{ version: 1 \}/;
    refused(() => ghash({ key: one, value: one }), tooOld);
    refused(() => ghashDirectKey({ value: one }), tooOld);
    refused(() => gtreeDirectKey({ value: one }), tooOld);
    refused(() => qlist(one), tooOld);
    refused(() => withTmp(one), tooOld);
  });

  test("a structure at a version that it does not load", () => {
    refused(() => vstruct(one, 0), /"one" is nested at version 0, but loads 1 to 1/);
    refused(() => vstruct(one, 2), /nested at version 2/);
    refused(() => vstruct(one, 0.5), /nested at version 0.5/);
  });

  test("a subsection of a version above 255", () => {
    const sub = vmstate({ name: "d/sub", version: 256, fields: { a: uint8() } });
    refused(() => vmstate({ name: "d", version: 1, fields: {}, subsections: { sub } }), /version 256: above 255/);
  });

  test("more elements of no bytes than are loaded, by the description or by its state", () => {
    refused(() => array(unusedBuffer(0), 4097), /4097 elements that may take no bytes/);
    const counted = vmstate({ name: "d", version: 1, fields: { n: uint16(), all: varray("n", buffer(0)) } });
    const state = (n: number) => ({ n, all: Array.from({ length: n }, () => new Uint8Array()) });
    expect(load(counted, save(counted, state(4096))).all.length).toBe(4096);
    for (const saving of [() => save(counted, state(4097)), () => compile(counted).save(state(4097))])
      expect(codeOf(caught(saving))).toBe("ERR_VALUE");
  });

  test("a value that its kind does not load", () => {
    const positive = vmstate({ name: "d", version: 1, fields: { a: int32Le() } });
    expect(codeOf(caught(() => save(positive, { a: -1 })))).toBe("ERR_VALUE");
    expect(codeOf(caught(() => compile(positive).save({ a: -1 })))).toBe("ERR_VALUE");
    const known = vmstate({ name: "d", version: 1, fields: { a: capability({ known: ["multifd"] }) } });
    expect(load(known, save(known, { a: "multifd" }))).toEqual({ a: "multifd" });
    expect(codeOf(caught(() => save(known, { a: "xbzrle" })))).toBe("ERR_VALUE");
  });
});
