// What docs/security.md says of the packages that an installation brings along, and what a release says of itself.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { installedWith } from "../../scripts/installed.mjs";
import { root } from "./project.ts";

const read = (name: string) => readFileSync(join(root, name), "utf8");

const names = z.record(z.string(), z.string()).default({});
const { dependencies, optionalDependencies } = z
  .object({ dependencies: names, optionalDependencies: names })
  .parse(JSON.parse(read("package.json")));
const ours = Object.keys({ ...dependencies, ...optionalDependencies }).sort();

const { packages } = z
  .object({
    packages: z.record(
      z.string(),
      z.object({
        // A link to a workspace has none.
        version: z.string().default(""),
        hasInstallScript: z.boolean().default(false),
      }),
    ),
  })
  .parse(JSON.parse(read("package-lock.json")));
/** All that is installed with cprkit, on any platform: folder and version. */
const shipped = installedWith(JSON.parse(read("package-lock.json")));
const installed = Object.entries(packages).filter(([path]) => shipped.has(path));
const nameOf = (path: string) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);

const page = read("docs/security.md");
const rows = [...page.matchAll(/^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$/gm)].map(([, name = "", , where = ""]) => ({
  name,
  where: [...where.matchAll(/`(src[^`]*)`/g)].map(([, path = ""]) => path),
}));

describe("docs/security.md", () => {
  it("has each runtime dependency, and no other, with its reason", () => {
    expect(rows.map(({ name }) => name).sort()).toEqual(ours);
  });

  it("names places that are there", () => {
    for (const { name, where } of rows) {
      expect([name, where.length > 0, where.filter((path) => !existsSync(join(root, path)))]).toEqual([name, true, []]);
    }
  });

  it("names every package that runs a script when it is installed, with the script", () => {
    const scripts = installed.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path);
    expect(scripts).toEqual(["node_modules/koffi"]);
    for (const path of scripts) {
      const { scripts: own } = z
        .object({ scripts: z.object({ install: z.string() }) })
        .parse(JSON.parse(read(`${path}/package.json`)));
      expect(page).toContain(`\`${own.install}\``);
    }
  });
});

it("a native package is pinned to one version", () => {
  for (const version of Object.values(optionalDependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
});

describe("a release", () => {
  it("has an SBOM with every package that is installed with cprkit, or is inside the inspector's page", () => {
    const { stdout, status } = spawnSync(process.execPath, [join(root, "scripts/sbom.mjs")], { encoding: "utf8" });
    expect(status).toBe(0);
    const sbom = z
      .object({
        bomFormat: z.literal("CycloneDX"),
        metadata: z.object({ component: z.object({ name: z.string() }) }),
        components: z.array(z.object({ name: z.string(), version: z.string() })),
      })
      .parse(JSON.parse(stdout));
    expect(sbom.metadata.component.name).toBe("cprkit");
    const listed = sbom.components.map(({ name, version }) => `${name}@${version}`).sort();
    const inPage = [...read("dist/web/LICENSES.txt").matchAll(/^(\S+) (\d\S*) \([^)]+\)$/gm)].map(
      ([, name, version]) => `${name}@${version}`,
    );
    expect(inPage).toEqual(expect.arrayContaining([expect.stringMatching(/^preact@/)]));
    const all = new Set([...installed.map(([path, { version }]) => `${nameOf(path)}@${version}`), ...inPage]);
    expect(listed).toEqual([...all].sort());
    for (const name of ours) expect(sbom.components.map((component) => component.name)).toContain(name);
  });

  it("is published with provenance and its SBOM", () => {
    const workflow = read(".github/workflows/release.yml");
    expect(workflow).toMatch(/id-token: write/);
    expect(workflow).toMatch(/npm publish .*--provenance/);
    expect(workflow).toMatch(/npm run --silent sbom > (sbom\.cdx\.json)[\s\S]*gh release create .* \1/);
  });
});
