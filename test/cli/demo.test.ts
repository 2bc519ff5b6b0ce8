import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Replacement, widestGap } from "../../src/cli/demo/round-trips.ts";
import { sparkline } from "../../src/cli/demo/sparkline.ts";
import { cprkit } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { privateDir } from "../support/vm.ts";

test("the demo finds every fd in the new process, each the same open file, and leaks none", () => {
  const { code, stdout } = cprkit(["demo", "--fds", "7530", "--json"], { env: { PATH: "" } });
  const { handOver, lookUps, realVm, realVmSkipped } = JSON.parse(stdout);
  expect(code).toBe(0);
  expect(handOver).toMatchObject({ fds: 7530, found: 7530, same: 7530, leaked: { old: 0, new: 0 } });
  expect(lookUps.map(({ fds }: { fds: number }) => fds)).toEqual(expect.arrayContaining([540, 2870, 7530]));
  expect(realVm).toBeNull();
  expect(realVmSkipped).toContain("PATH");
});

test("the demo for people shows the RFC's figures, a plot where it is asked for, and that a VM was left out", () => {
  const { code, stdout } = cprkit(["demo", "--fds", "30", "--plot", "--no-vm", "--qemu", "/nowhere"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^No real VM: left out, as --no-vm says\n/);
  expect(stdout).toContain("152,715,916");
  expect(stdout).toContain("found 30, the same open file 30, none leaked");
  expect(stdout).toContain("┏");
});

describe("the gap", () => {
  // A number each 10 ms, but for 85 ms from 30 to 115, and 200 ms much later.
  const times = [0, 10, 20, 30, 115, 125, 135, 335];
  const counts = times.map((at, index) => ({ value: index + 1, at }));

  test("is the longest time without a number while the guest was stopped, by its counter alone", () => {
    expect(widestGap(counts, 1, 32_000, 33_000)).toEqual({ at: 4, gapMs: 85 });
    expect(widestGap(counts, 1, 12_000, 13_000)).toEqual({ at: 2, gapMs: 10 });
  });

  test("is the longest of all where the QEMUs do not say when they stopped it", () => {
    expect(widestGap(counts, 1, undefined, undefined)).toEqual({ at: 7, gapMs: 200 });
  });

  test("is a bar: higher for longer", () => {
    expect(sparkline([0, 10, 15, 85, 200, 10_000])).toBe("▁▁▂▆██");
  });
});

describeQemu("the demo with a real VM", ["10.0", "11.1"], (qemu) => {
  test("its QEMU is replaced there and back; the guest counts on, and shows the gap itself", () => {
    const words = ["--fds", "30", "--qemu", qemu["10.0"], "--to", qemu["11.1"], "--rounds", "1"];
    const dir = privateDir();
    const { code, stdout, stderr } = cprkit(["demo", "--json", ...words], { env: { TMPDIR: dir } });
    expect(stderr).toBe("");
    const { realVm } = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(realVm.lost).toBe(0);
    expect(realVm.replacements.map(({ from, to }: Replacement) => [from.slice(0, 4), to.slice(0, 4)])).toEqual([
      ["10.0", "11.1"],
      ["11.1", "10.0"],
    ]);
    for (const { firstAfter, lastBefore, gapMs, around, fds } of realVm.replacements as Replacement[]) {
      expect(firstAfter).toBe(lastBefore + 1);
      expect(fds).toBeGreaterThanOrEqual(6);
      expect(around).toContain(gapMs);
      expect(gapMs).toBeGreaterThan(0);
    }
    // Not a number of the QEMUs: the whole of what the guest counted is known here.
    expect(realVm.counted).toBeGreaterThan(realVm.replacements.at(-1).firstAfter);
    expect(readdirSync(dir)).toEqual([]);
  });

  test("for people, without a terminal: plain lines, all of which fit a screen", () => {
    const words = ["--fds", "7530", "--qemu", qemu["11.1"], "--rounds", "1"];
    const { code, stdout } = cprkit(["demo", ...words], { env: { NO_COLOR: "1" } });
    expect(code).toBe(0);
    expect(stdout).not.toContain("\x1b");
    expect(stdout).toMatch(/^ {2}11\.1\.\d+ +11\.1\.\d+ +\d+ +[\d,]+ → [\d,]+ +[\d.]+ ms {2}[▁▂▃▄▅▆▇█]+$/m);
    expect(stdout).toContain("none lost, none twice");
    const lines = stdout.trimEnd().split("\n");
    // Six replacements, as `npm run demo` makes them, and the shell's next prompt.
    expect(lines.length + 4 + 1).toBeLessThanOrEqual(24);
    expect(lines.filter((line) => [...line].length > 80)).toEqual([]);
  });
});

test("a QEMU that ends before its guest counts: one line with what it said, and nothing is waited for", () => {
  const dir = privateDir();
  try {
    const qemu = join(dir, "qemu");
    const script = 'case "$1" in --version) echo "QEMU emulator version 10.0.0";; *) echo no room >&2; exit 3;; esac';
    writeFileSync(qemu, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const { code, stderr } = cprkit(["demo", "--fds", "3", "--qemu", qemu]);
    expect(code).toBe(4);
    expect(stderr).toBe("cprkit: QEMU ended with exit code 3 before its guest counted: no room\n");
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("a program that is no QEMU: exit code 4", () => {
  const { code, stderr } = cprkit(["demo", "--fds", "3", "--qemu", "/bin/true"]);
  expect(code).toBe(4);
  expect(stderr).toContain("/bin/true is no QEMU that runs here");
});
