// `npm run sbom`: the list of all packages that an installation of cprkit brings along, and of those that the inspector's page
// has inside, as CycloneDX JSON on stdout.
//
// `npm sbom --omit dev` leaves out what a tool for development needs as well (npm 11: zod and picocolors, of which the
// first is in every update), and counts the workspaces in. So npm is asked in a folder whose package.json and lock file have no such tools at all.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { installedWith } from "./installed.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { devDependencies: tools, workspaces: _others, ...manifest } = read("package.json");
const { packages, ...lock } = read("package-lock.json");
/** Packages that are not installed, because the inspector's page has them inside. */
const inPage = ["d3-hierarchy", "preact"];
manifest.dependencies = { ...manifest.dependencies, ...Object.fromEntries(inPage.map((name) => [name, tools[name]])) };
const { devDependencies: _tools, workspaces: _, ...own } = packages[""];
const ownWithPage = { ...own, dependencies: manifest.dependencies };
const installed = installedWith({ packages: { ...packages, "": ownWithPage } });
const shipped = Object.fromEntries(
  Object.entries(packages).flatMap(([path, one]) => (installed.has(path) ? [[path, { ...one, dev: undefined }]] : [])),
);
shipped[""] = ownWithPage;

const temporary = mkdtempSync(join(tmpdir(), "cprkit-sbom-"));
try {
  // npm names the product after its folder.
  const folder = join(temporary, manifest.name);
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  writeFileSync(join(folder, "package-lock.json"), JSON.stringify({ ...lock, packages: shipped }));
  const words = ["sbom", "--sbom-format", "cyclonedx", "--package-lock-only"];
  const { status } = spawnSync("npm", words, { cwd: folder, stdio: "inherit" });
  process.exitCode = status ?? 4;
} finally {
  rmSync(temporary, { recursive: true, force: true });
}

function read(name) {
  return JSON.parse(readFileSync(join(root, name), "utf8"));
}
