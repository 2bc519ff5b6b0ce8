// `npm ci` is what a fresh clone begins with, and it refuses a lock file in which any package of any platform is missing.
// npm leaves out of the lock what the registry at hand does not have, or what `node_modules` lacks, without a word.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { root } from "./project.ts";

const names = z.record(z.string(), z.string()).default({});
const lockFile = z.object({
  packages: z.record(z.string(), z.object({ dependencies: names, optionalDependencies: names })),
});

/** Whether Node would find `name` from the package at `path`. */
function isFound(packages: Readonly<Record<string, unknown>>, path: string, name: string): boolean {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf("/node_modules/")))) {
    if (packages[`${at === "" ? "" : `${at}/`}node_modules/${name}`] !== undefined) return true;
    if (at === "") return false;
  }
}

describe("package-lock.json", () => {
  it("holds every package that another one names, of every platform", () => {
    const { packages } = lockFile.parse(JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")));
    const missing = Object.entries(packages).flatMap(([path, { dependencies, optionalDependencies }]) =>
      Object.entries({ ...dependencies, ...optionalDependencies })
        .filter(([name]) => !isFound(packages, path, name))
        .map(([name, version]) => `${name}@${version}, named by ${path}`),
    );
    expect(Object.keys(packages).length).toBeGreaterThan(50);
    expect(missing).toEqual([]);
  });

  it("names no registry: each user's own is asked", () => {
    expect(readFileSync(join(root, "package-lock.json"), "utf8")).not.toMatch(/"resolved": "https?:/);
  });
});
