// What a release gives away: two packages, each with what it needs and nothing else, of one version, published with
// provenance. More of cprkit's own package: test/cli/pack.test.ts.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publint } from "publint";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeProject, root } from "./project.ts";

const json = (path: string) => JSON.parse(readFileSync(path, "utf8"));
const folder = mkdtempSync(join(tmpdir(), "cprkit-release-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the tarball of cprkit-fleet", () => {
  const packed = join(folder, "package");
  let files: string[] = [];

  beforeAll(() => {
    const words = ["pack", "--workspace", "cprkit-fleet", "--ignore-scripts", "--json", "--pack-destination", folder];
    const [tarball] = JSON.parse(execFileSync("npm", words, { cwd: root, encoding: "utf8", stdio: "pipe" }));
    files = tarball.files.map(({ path }: { readonly path: string }) => path);
    execFileSync("tar", ["-xzf", join(folder, tarball.filename), "-C", folder]);
  });

  it("holds a module for each source, the ledger's tables, and nothing else", () => {
    const sources = readdirSync(join(root, "fleet/src"), { recursive: true, encoding: "utf8" });
    const modules = sources.flatMap((path) => (/\.tsx?$/.test(path) ? [path.replace(/\.tsx?$/, "")] : []));
    expect(files.filter((path) => /^dist\/.*\.js$/.test(path)).sort()).toEqual(
      modules.map((path) => `dist/${path}.js`).sort(),
    );
    const tables = readdirSync(join(root, "fleet/migrations")).map((name) => `migrations/${name}`);
    const rest = files.filter((path) => !/^dist\/.*\.(js|d\.ts)$/.test(path));
    expect(rest.sort()).toEqual(["LICENSE", "README.md", "load.cjs", "package.json", ...tables].sort());
    const pointing = files.filter(
      (path) => path.startsWith("dist/") && readFileSync(join(packed, path), "utf8").includes("sourceMappingURL="),
    );
    expect(pointing).toEqual([]);
  });

  it("publint finds nothing", async () => {
    const { messages } = await publint({ pkgDir: packed, strict: true, pack: false });
    expect(messages).toEqual([]);
  });
});

it("both packages have one version, and the fleet's works with that of cprkit", () => {
  const [own, fleet] = [json(join(root, "package.json")), json(join(root, "fleet/package.json"))];
  expect([fleet.version, fleet.peerDependencies.cprkit]).toEqual([own.version, `^${own.version}`]);
});

it("npm run release gives both the new version, also in the lock file, and changes nothing else there", () => {
  const project = makeProject(["CHANGELOG.md", "package.json", "package-lock.json", "fleet/package.json", "scripts"]);
  try {
    execFileSync(process.execPath, ["scripts/changelog.mjs", "release", "0.9.0"], { cwd: project.folder });
    const [own, fleet] = ["package.json", "fleet/package.json"].map((path) => json(join(project.folder, path)));
    expect([own.version, fleet.version, fleet.peerDependencies.cprkit]).toEqual(["0.9.0", "0.9.0", "^0.9.0"]);
    const text = (path: string) => readFileSync(path, "utf8").split("\n");
    const before = text(join(root, "package-lock.json"));
    const changed = text(join(project.folder, "package-lock.json")).filter((line, at) => line !== before[at]);
    expect(changed.map((line) => line.trim())).toEqual([
      '"version": "0.9.0",',
      '"version": "0.9.0",',
      '"version": "0.9.0",',
      '"cprkit": "^0.9.0"',
    ]);
    expect(readFileSync(join(project.folder, "CHANGELOG.md"), "utf8")).toMatch(/^## 0\.9\.0 - \d{4}-/m);
  } finally {
    project.remove();
  }
});

it("the release workflow publishes both, with provenance, cprkit first; a token is not needed", () => {
  const workflow = readFileSync(join(root, ".github/workflows/release.yml"), "utf8");
  expect(workflow.match(/npm publish .*/g)).toEqual([
    "npm publish --provenance --access public",
    "npm publish --provenance --access public --workspace cprkit-fleet",
  ]);
  expect(workflow).toMatch(/^ {2}id-token: write$/m);
  expect(workflow).not.toContain("NODE_AUTH_TOKEN");
});
