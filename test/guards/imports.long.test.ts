// The compiler's projects see to it that a folder imports only from the folders before it, and the pure ones nothing of
// Node: each rule is shown to bite, on stubs in the place of our folders. It tests the compiler's set-up, not cprkit.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { folders, makeProject, type Project } from "./project.ts";

const pure = ["vmstate", "migration", "cpr"];
const tsc = "typescript/bin/tsc";

let project: Project;

beforeAll(() => {
  project = makeProject([
    "package.json",
    "tsconfig.base.json",
    ...folders.map((folder) => `src/${folder}/tsconfig.json`),
  ]);
  for (const folder of folders) project.write(`src/${folder}/index.ts`, `export const ${folder} = "${folder}";\n`);
});

afterAll(() => project.remove());

describe("the projects of the compiler", () => {
  it.each(folders)("%s builds, and may import every folder before it", async (folder) => {
    const before = folders.slice(0, folders.indexOf(folder));
    const imports = before.map((one) => `export { ${one} } from "../${one}/index.ts";\n`);
    project.write(`src/${folder}/good.ts`, imports.length === 0 ? "export {};\n" : imports.join(""));
    expect(await project.run(tsc, "-b", `src/${folder}`)).toEqual({ code: 0, output: "" });
  });

  it.each(folders.slice(0, -1))("%s cannot import a folder after it", async (folder) => {
    const after = folders.slice(folders.indexOf(folder) + 1);
    for (const one of after) {
      project.write(`src/${folder}/bad-${one}.ts`, `export { ${one} } from "../${one}/index.ts";\n`);
    }
    const { code, output } = await project.run(tsc, "-b", `src/${folder}`);
    expect(code).not.toBe(0);
    for (const one of after) expect(output).toMatch(new RegExp(`bad-${one}\\.ts.*error TS(6307|6059)`));
    for (const one of after) project.write(`src/${folder}/bad-${one}.ts`, "export {};\n");
  });

  const impure = {
    "node:fs": 'import { readFileSync } from "node:fs";\nexport const text = readFileSync("x");\n',
    fs: 'import { readFileSync } from "fs";\nexport const text = readFileSync("x");\n',
    Buffer: "export const bytes = Buffer.alloc(1);\n",
    process: "export const pid = process.pid;\n",
    console: 'export const log = () => console.log("x");\n',
    setTimeout: "export const timer = setTimeout(() => {}, 1);\n",
    TextDecoder: "export const decoder = new TextDecoder();\n",
    document: "export const title = document.title;\n",
  };

  it.each(pure)("%s cannot name what is no part of the language", async (folder) => {
    for (const [name, text] of Object.entries(impure))
      project.write(`src/${folder}/bad-${name.replace(":", "-")}.ts`, text);
    const { code, output } = await project.run(tsc, "-b", `src/${folder}`);
    expect(code).not.toBe(0);
    const refused = Object.keys(impure).filter((name) =>
      new RegExp(`bad-${name.replace(":", "-")}\\.ts.*error TS`).test(output),
    );
    expect(refused).toEqual(Object.keys(impure));
    for (const name of Object.keys(impure))
      project.write(`src/${folder}/bad-${name.replace(":", "-")}.ts`, "export {};\n");
  });
});
