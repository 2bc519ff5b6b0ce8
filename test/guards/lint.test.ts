// The linter's rules that keep the house: each is shown to fire on a file that breaks it, at the place where it counts.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeProject, type Project } from "./project.ts";

const bad = [
  { rule: "lint/style/noDefaultExport", path: "src/cpr/default.ts", text: "export default 1;\n" },
  { rule: "lint/suspicious/noExplicitAny", path: "src/linux/any.ts", text: "export const x: any = 1;\n" },
  { rule: "lint/style/noNonNullAssertion", path: "src/qemu/sure.ts", text: "export const f = (x?: string) => x!;\n" },
  { rule: "lint/style/useNodejsImportProtocol", path: "src/linux/fs.ts", text: 'export { stat } from "fs";\n' },
  {
    rule: "lint/style/useImportType",
    path: "src/linux/type.ts",
    text: 'import { A } from "./a.ts";\nexport const f = (a: A) => a;\n',
  },
  { rule: "lint/correctness/noNodejsModules", path: "src/vmstate/fs.ts", text: 'export { stat } from "node:fs";\n' },
  { rule: "lint/correctness/noNodejsModules", path: "src/migration/fs.ts", text: 'export { stat } from "node:fs";\n' },
  { rule: "lint/correctness/noNodejsModules", path: "src/cpr/fs.ts", text: 'export { stat } from "node:fs";\n' },
  { rule: "lint/style/noRestrictedGlobals", path: "src/cpr/buffer.ts", text: "export const x = Buffer.alloc(1);\n" },
  {
    rule: "lint/suspicious/noImportCycles",
    path: "src/cpr/one.ts",
    text: 'export { two } from "./two.ts";\nexport const one = 1;\n',
  },
  {
    rule: "lint/suspicious/noImportCycles",
    path: "src/cpr/two.ts",
    text: 'export { one } from "./one.ts";\nexport const two = 2;\n',
  },
  { rule: "format", path: "src/cpr/format.ts", text: "export const   x=1\n" },
];
const good = [
  { path: "src/cpr/good.ts", text: "export const x = 1;\n" },
  { path: "src/linux/good.ts", text: 'export { statSync } from "node:fs";\n' },
];

let project: Project;

beforeAll(() => {
  project = makeProject(["biome.json", ".gitignore"]);
});

afterAll(() => project.remove());

describe("biome", () => {
  it("passes files that keep the rules", async () => {
    for (const { path, text } of good) project.write(path, text);
    expect(await project.run("@biomejs/biome/bin/biome", "ci", "src")).toMatchObject({ code: 0 });
  });

  it("fails, and names each file that breaks a rule", async () => {
    for (const { path, text } of bad) project.write(path, text);
    const { code, output } = await project.run(
      "@biomejs/biome/bin/biome",
      "ci",
      "--max-diagnostics=none",
      "--reporter=github",
      "src",
    );
    expect(code).toBe(1);
    for (const { rule, path } of bad) {
      // Such as "::error title=lint/style/noDefaultExport,file=/tmp/.../src/cpr/default.ts,line=1,...".
      const named = new RegExp(`title=${rule},file=\\S*${path},`).test(output);
      expect([path, rule, named]).toEqual([path, rule, true]);
    }
    for (const { path } of good) expect(output).not.toContain(path);
  });
});
