// An export that nobody uses is found.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeProject, type Project, root } from "./project.ts";

const ours = [
  "package.json",
  "knip.json",
  "tsconfig.base.json",
  "tsconfig.json",
  "vitest.config.ts",
  "test/support/skipped.ts",
  "src",
  "scripts",
];

let project: Project;

beforeAll(() => {
  project = makeProject(ours.filter((path) => existsSync(join(root, path))));
});

afterAll(() => project.remove());

describe("knip", () => {
  it("names a dead export, a dead file, and a dependency that is not declared", async () => {
    project.write("src/cpr/limits-copy.ts", 'export { maxNameLength } from "./limits.ts";\n');
    project.write("src/linux/index.ts", 'export { used } from "./used.ts";\n');
    project.write("src/linux/used.ts", 'import "undeclared";\nexport const used = 1;\nexport const unusedHere = 2;\n');
    const { code, output } = await project.run("knip/bin/knip.js", "--no-progress");
    expect(code).toBe(1);
    expect(output).toMatch(/Unused files[\s\S]*src\/cpr\/limits-copy\.ts/);
    expect(output).toMatch(/Unused exports[\s\S]*unusedHere .*src\/linux\/used\.ts/);
    expect(output).toMatch(/Unlisted dependencies[\s\S]*undeclared .*src\/linux\/used\.ts/);
    expect(output).not.toMatch(/^used /m);
  });
});
