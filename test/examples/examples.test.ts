// The examples work as they are printed.

import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { repoRoot } from "../support/cli.ts";

const run = (name: string) =>
  execFileSync(process.execPath, [`examples/${name}`], { cwd: repoRoot, encoding: "utf8", timeout: 30_000 });

test("describe-a-device", () => {
  const output = run("describe-a-device.mjs");
  expect(output).toContain("saved: 000000050100000000000f4240020000000008");
  expect(output).toMatch(/version 1: \{ irq: 5, requests: .*prescale: 1 \}/s);
  expect(output).toMatch(/^5\.\.13 +timer\/requests\[0\]\/timer\/request\/deadline uint64 1000000n$/m);
});

test("hand-over", () => {
  const output = run("hand-over.mjs");
  expect(output).toContain('new: found "what must not be lost"');
  expect(output).toMatch(/old: 1 fd in \d+ bytes handed to process \d+/);
});

test("across-exec", () => {
  const [, before, after, counter] =
    /before: process (\d+)\nafter: process (\d+), counter (\d+)/.exec(run("across-exec.mjs")) ?? [];
  expect(before).toBe(after);
  expect(counter).toBe("42");
});
