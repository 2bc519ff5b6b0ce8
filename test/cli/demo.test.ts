import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
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

test("the demo for people shows the RFC's figures and a plot", () => {
  const { code, stdout } = cprkit(["demo", "--fds", "30"], { env: { PATH: "" } });
  expect(code).toBe(0);
  expect(stdout).toContain("152,715,916");
  expect(stdout).toContain("found 30, the same open file 30, none leaked");
  expect(stdout).toContain("┏");
});

describeQemu("the demo with a real VM", ["10.0", "11.1"], (qemu) => {
  test.each(["10.0", "11.1"] as const)("QEMU %s: the guest counts on in the new process", (version) => {
    const { code, stdout } = cprkit(["demo", "--fds", "30", "--json", "--qemu", qemu[version]]);
    const { realVm } = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(realVm.to.startsWith(version)).toBe(true);
    expect(realVm.fds.find(({ name }: { name: string }) => name === "ram0").what).toBe("memfd:memory-backend-memfd");
    expect(realVm.firstAfter).toBe(realVm.lastBefore + 1);
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
