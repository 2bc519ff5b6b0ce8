// How long commands take to start, beside `node -e 0` in the same run, with a wide margin: that a command does not load what
// it does not use is what these ratios are made of.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { repoRoot } from "../support/cli.ts";
import { privateDir } from "../support/vm.ts";

/** Least times: about twice what was measured, for machines with other work. As modules they were 1.5 to 5.2. */
const limits = { "inspect small": 3, "--version": 2, "--help": 2.2, status: 3, "update --help": 2.2 };

const recorded = z.object({
  node: z.object({ min: z.number() }),
  summary: z.record(z.string(), z.object({ bundle: z.object({ min: z.number() }) })),
});

it("commands start in little more than Node does", () => {
  const output = privateDir();
  const words = ["bench/start.mjs", "--runs", "5", "--ways", "bundle", "--output", output];
  const { status, stderr } = spawnSync(process.execPath, words, { cwd: repoRoot, encoding: "utf8", timeout: 60_000 });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const { node, summary } = recorded.parse(JSON.parse(readFileSync(join(output, "start.json"), "utf8")));
  expect(Object.keys(summary)).toEqual(Object.keys(limits));
  for (const [name, limit] of Object.entries(limits)) {
    expect((summary[name]?.bundle.min ?? Number.NaN) / node.min, name).toBeLessThan(limit);
  }
});
