// The examples work as they are printed.

import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { repoRoot } from "../support/cli.ts";

const run = (name: string, ...args: string[]) =>
  execFileSync(process.execPath, [`examples/${name}`, ...args], { cwd: repoRoot, encoding: "utf8", timeout: 30_000 });

test("describe-a-device", () => {
  const output = run("describe-a-device.mjs");
  expect(output).toContain("saved: 0000000501000000fa0100000000000f4240020000000008");
  expect(output).toContain("one-shot: { irq: 5, control: 0, requests: [], prescale: 8 }");
  expect(output).toMatch(/version 1: \{\s+irq: 5,.*prescale: 1,/s);
  expect(output).toMatch(/^10\.\.18 +timer\/requests\[0\]\/timer\/request\/deadline uint64 1000000n$/m);
});

test("field-kind", () => {
  const output = run("field-kind.mjs");
  expect(output).toContain("saved: 52540012345605dc");
  expect(output).toContain("loaded: { mac: '52:54:00:12:34:56', mtu: 1500 }");
  expect(output).toMatch(/^refused: ERR_VALUE .*nic\/mac/m);
});

test("ghash-by-content", () => {
  const output = run("ghash-by-content.mjs");
  expect(output).toContain("entries: 2");
  expect(output).toContain("slot 3: { vector: 42 }");
});

test("read-a-capture", () => {
  const output = run("read-a-capture.mjs");
  expect(output).toMatch(/^machine microvm, 25 sections\nchannels\[0\]\.irq_disabled: 0\nchannels: struct\n/);
  expect(output).toMatch(/^ {4}channels\[2\]\/count: 65536$/m);
  const capture = "test/fixtures/migration/cpr-main-microvm-10.0.mig";
  expect(run("read-a-capture.mjs", capture, "fw_cfg", "fw_cfg/dma")).toBe(
    "machine microvm, 25 sections\nfw_cfg/dma: subsection\n  fw_cfg/dma/dma_addr: 0\n",
  );
});

test("hand-over", () => {
  const output = run("hand-over.mjs");
  expect(output).toContain('new: found "what must not be lost"');
  expect(output).toMatch(/old: 1 fd in \d+ bytes handed to process \d+/);
});

test("receive-and-close", () => {
  const output = run("receive-and-close.mjs");
  expect(output).toMatch(/^received: .*\bmemory 0\b/m);
  expect(output).toContain('refused: no fd with the name "disk" has come');
  expect(output).toContain("fds left open: 0");
});

test("across-exec", () => {
  const [, before, after, counter] =
    /before: process (\d+)\nafter: process (\d+), counter (\d+)/.exec(run("across-exec.mjs")) ?? [];
  expect(before).toBe(after);
  expect(counter).toBe("42");
});
