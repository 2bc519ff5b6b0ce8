// What is easily written wrong is said when it is written: by the compiler, or by vmstate().

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  buffer,
  existsIf,
  fd,
  load,
  qlist,
  type StateOf,
  save,
  since,
  uint8,
  uint16,
  uint64,
  validate,
  varray,
  vmstate,
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
