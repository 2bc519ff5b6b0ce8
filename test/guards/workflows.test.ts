// The workflows: each action is one commit, rights are named and few, each job ends, and the tests run on the oldest Node that
// package.json promises.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { root } from "./project.ts";

const folder = join(root, ".github/workflows");
const texts = Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]));

describe.each(Object.entries(texts))("%s", (name, text) => {
  it("names each action by its commit, and says its version", () => {
    const used = [...text.matchAll(/uses: (.*)/g)].map(([, words = ""]) => words);
    expect(used.length).toBeGreaterThan(0);
    expect(used.filter((words) => !/^[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(words))).toEqual([]);
    expect(used.filter((words) => words.startsWith("actions/checkout@"))).toHaveLength(
      text.match(/persist-credentials: false/g)?.length ?? 0,
    );
  });

  it("has no more rights than it needs", () => {
    const [, rights = ""] = /^permissions:\n((?: {2}.*\n)+)/m.exec(text) ?? [];
    const wanted = name === "release.yml" ? ["contents: write", "id-token: write"] : ["contents: read"];
    expect(rights.trim().split(/\n */)).toEqual(wanted);
  });

  it("has a limit of time for each job", () => {
    expect(text.match(/^ {4}timeout-minutes: \d+$/gm)).toHaveLength(text.match(/^ {4}runs-on: /gm)?.length ?? 0);
  });
});

it("the tests run on the oldest Node that will do, the long ones each night in all their parts", () => {
  const { engines, scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const oldest = engines.node.replace(/^>=/, "");
  expect(texts["test.yml"]?.match(/node: \[([^,]*),/g)).toEqual([`node: [${oldest},`, `node: [${oldest},`]);
  const long = texts["long.yml"] ?? "";
  const parts = /part: \[(.*)\]/.exec(long)?.[1]?.split(", ") ?? [];
  expect(long).toContain(`npm run test:long -- --shard=\${{ matrix.part }}/${parts.length}`);
  expect(parts).toEqual(parts.map((_, at) => String(at + 1)));
  expect(scripts["test:long"]).toBeDefined();
  expect(long).toMatch(/^ {2}schedule:$/m);
  expect(Object.entries(texts).flatMap(([name, text]) => (text.includes("test:long") ? [name] : []))).toEqual([
    "long.yml",
  ]);
});
