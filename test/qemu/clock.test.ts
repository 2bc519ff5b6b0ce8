// The wall clock may be set at any time: nothing waits by it, and a pause measured with it is not believed blindly.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { createClock } from "../../scripts/reliability/clock.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import type { CprModeName } from "../../src/qemu/vm/binary.ts";
import { repoRoot } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { privateDir } from "../support/vm.ts";
import { endAll, startPlain } from "./update-support.ts";

afterEach(endAll);

const clock = createClock(privateDir());

describeQemu("a clock that is set while the guest stands still", ["11.1"], ({ "11.1": qemu }) => {
  if (clock === undefined) console.warn("skipped: no C compiler for the library that moves the clock");
  const cases: readonly (readonly [CprModeName, seconds: number])[] = [
    ["cpr-transfer", 3600],
    ["cpr-transfer", -1],
    ["cpr-exec", -3600],
    ["cpr-reboot", 60],
  ];
  it.skipIf(clock === undefined).each(cases)(
    "%s, by %d s: the pause is not known, and how long at most [needs a C compiler]",
    async (mode, seconds) => {
      const vm = await startPlain(qemu);
      const program = join(vm.dir, "late-clock");
      const words = Object.entries(clock?.env ?? {}).map(([name, value]) => `export ${name}="${value}"\n`);
      writeFileSync(program, `#!/bin/sh\n${words.join("")}exec "${qemu}" "$@"\n`, { mode: 0o755 });
      clock?.jumpTo(seconds);
      const report = await updateVm({ qmp: vm.qmp }, { stateDir: vm.stateDir, qemu: program, mode });
      expect(report.downtimeMs).toBeUndefined();
      expect(Math.abs((report.resumeUs ?? 0) - (report.stopUs ?? 0) - seconds * 1e6)).toBeLessThan(30e6);
      const warning = report.warnings.find((text) => text.startsWith("how long the guest stood still is not known"));
      const atMost = Number(/at most ([\d.]+) ms$/.exec(warning ?? "")?.[1]);
      expect(atMost).toBeGreaterThan(0);
      expect(atMost).toBeLessThan(report.totalMs);
      // With a clock that nobody sets it is known again.
      clock?.jumpTo(0);
      const again = await updateVm({ qmp: vm.qmp }, { stateDir: vm.stateDir, qemu: program, mode });
      expect(again.warnings.join()).not.toContain("how long");
      expect(again.downtimeMs).toBeGreaterThan(0);
      await vm.serial.waitForMore(3, 10_000);
      assertContiguous(vm.serial);
    },
  );
});

it("only what is meant for people, or is compared with times of files, reads the wall clock", () => {
  const files = readdirSync(join(repoRoot, "src"), { recursive: true, encoding: "utf8" });
  const reading = files.filter(
    (name) => name.endsWith(".ts") && /Date\.now|new Date\(\)/.test(readFileSync(join(repoRoot, "src", name), "utf8")),
  );
  expect(reading.sort()).toEqual([
    // The day in a manual page.
    "cli/commands/about/man.ts",
    // When QEMU started, to be compared with when a file was changed.
    "qemu/preflight/checks/files.ts",
    // The end of the guest's pause, where the new program's RESUME came before anybody could listen.
    "qemu/update/modes/exec.ts",
    // The journal's date.
    "qemu/update/update.ts",
  ]);
});
