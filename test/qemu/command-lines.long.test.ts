// The same command lines with a Linux guest, whose drivers have the devices in use, there and back twice.
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { commandLines } from "./command-lines.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

describeQemu(
  "a Linux guest as it is started by",
  ["10.0", "11.1"],
  (qemu) => {
    for (const { name, words } of commandLines) {
      it(`${name}: 10.0 -> 11.1 -> 10.0 -> 11.1 -> 10.0`, { timeout: 600_000 }, async () => {
        const vm = await startUpdatable({
          ...{ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"], linux: "touch_mb=8" },
          rewrite: (args, dir) => {
            const at = args.indexOf("-kernel");
            return words(dir, { boot: "linux", kernel: args.slice(at, at + 6) });
          },
        });
        expect(vm.serial.text()).toContain("GUEST READY");
        for (const version of ["11.1", "10.0", "11.1", "10.0"] as const) {
          const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
          expect(report.comparison.before?.differences).toEqual([]);
          expect(report.comparison.after?.differences).toEqual([]);
          await vm.serial.waitForMore(20, 60_000);
        }
        // It checks its RAM every 500 lines.
        await vm.serial.waitForMore(520, 120_000);
        assertContiguous(vm.serial);
        expect(vm.serial.text()).toContain("FILL OK");
        expect(vm.serial.text()).not.toContain("FILL BAD");
      });
    }
  },
  { linux: true },
);
