// Only the returns of commands that cprkit gives are described: any other command can be executed without.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { qmpReturns } from "../../src/qemu/qmp/schema.ts";
import { repoRoot } from "../support/cli.ts";

it("every command whose return is described is given somewhere in src/", () => {
  const src = join(repoRoot, "src");
  const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter(
    (path) => path.endsWith(".ts") && path !== "qemu/qmp/schema.ts",
  );
  const text = files.map((path) => readFileSync(join(src, path), "utf8")).join("\n");
  const isGiven = (command: string) => new RegExp(`(?:execute|tell|ask)\\w*\\([^"();]*"${command}"`).test(text);
  expect(Object.keys(qmpReturns).filter((command) => !isGiven(command))).toEqual([]);
  expect(isGiven("query-rx-filter")).toBe(false);
});
