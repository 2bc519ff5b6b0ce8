// The library in few files (scripts/library.mjs): the same as the modules, each thing once.

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { root } from "./project.ts";

const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const subpaths = Object.entries<Record<string, string>>(exports).flatMap(
  ([subpath, { node = "", default: module = "" }]) =>
    subpath === "./package.json" ? [] : [{ subpath, node: join(root, node), module: join(root, module) }],
);

/** The files that an import of `entry` reads. */
function reads(entry: string, read = new Set<string>()): Set<string> {
  if (read.has(entry)) return read;
  read.add(entry);
  const code = readFileSync(entry, "utf8");
  for (const [, path = ""] of code.matchAll(/^(?:import|export)\b[^;]*?["'](\.[^"']+)["'];/gm))
    reads(join(entry, "..", path), read);
  return read;
}

it("there is one for every subpath", () => {
  expect(subpaths.map(({ subpath }) => subpath)).toContain("./channel");
  expect(subpaths.filter(({ node }) => !node.startsWith(join(root, "dist/node/")))).toEqual([]);
});

it("exports what the modules do, by the same names; and what two subpaths export is one thing", () => {
  // In a Node of its own: here vitest would load them in its own way.
  const script = `
    const [subpaths] = [${JSON.stringify(subpaths)}];
    const load = (way) => Promise.all(subpaths.map((each) => import(each[way])));
    const things = (loaded) => [...new Set(loaded.flatMap(Object.values))];
    const names = (loaded) => {
      const all = things(loaded);
      return loaded.map((each) => Object.entries(each).map(([name, value]) => [name, typeof value, all.indexOf(value)]));
    };
    console.log(JSON.stringify([names(await load("node")), names(await load("module"))]));
  `;
  const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", script], { encoding: "utf8" });
  const [few, modules] = JSON.parse(printed);
  expect(modules.flat().length).toBeGreaterThan(100);
  expect(few).toEqual(modules);
});

it("an import reads a sixth of the files", () => {
  for (const subpath of [".", "./channel"]) {
    const entry = subpaths.find((each) => each.subpath === subpath);
    if (entry === undefined) throw new Error(`${subpath} is not exported`);
    expect(reads(entry.module).size).toBeGreaterThan(50);
    expect(reads(entry.node).size * 6).toBeLessThanOrEqual(reads(entry.module).size);
  }
});

it("no module imports node:process: that makes the standard streams, which takes longer than all else of a start", () => {
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.tsx?$/.test(name),
  );
  expect(sources.length).toBeGreaterThan(200);
  expect(sources.filter((name) => /from "node:process"/.test(readFileSync(join(root, "src", name), "utf8")))).toEqual(
    [],
  );
});
