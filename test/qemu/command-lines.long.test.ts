// The same command lines with a Linux guest, whose drivers have the devices in use, there and back twice.
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { type CommandLine, commandLines } from "./command-lines.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

describeQemu(
  "a Linux guest as it is started by",
  ["10.0", "11.1"],
  (qemu) => {
    for (const { name, words, machine = "pc-q35-10.0" } of commandLines) {
      it(`${name}: 10.0 -> 11.1 -> 10.0 -> 11.1 -> 10.0`, { timeout: 600_000 }, async () => {
        const vm = await startUpdatable({
          ...{ machine, accel: "tcg", qemu: qemu["10.0"], linux: "touch_mb=8" },
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

    it("Proxmox VE, which does not start it for CPR: by copy once, then by CPR", { timeout: 600_000 }, async () => {
      const { words, machine } = commandLines.find(({ listener }) => listener === "qmeventd.sock") as CommandLine;
      const asItIs = (word: string) =>
        word
          .replace("memory-backend-memfd", "memory-backend-ram")
          .replace(/^(memory-backend-ram.*),share=on$/, "$1")
          .replace(",aux-ram-share=on", "");
      const vm = await startUpdatable({
        ...{ machine: machine ?? "", accel: "tcg", qemu: qemu["10.0"] },
        rewrite: (_, dir) => words(dir, { boot: "firmware", kernel: [] }).map(asItIs),
      });
      const options = { stateDir: vm.stateDir, qemu: qemu["11.1"] };
      const refused = await updateVm({ qmp: vm.qmp }, options).catch((error: Error) => error.message);
      expect(refused).toMatch(/aux-ram-share-off|memory-not-shared/);
      const copied = await updateVm({ qmp: vm.qmp }, { ...options, mode: "copy" });
      expect(copied).toMatchObject({ outcome: "updated", mode: "copy" });
      for (const version of ["11.1", "10.0"] as const) {
        const report = await updateVm({ qmp: vm.qmp }, { ...options, qemu: qemu[version], mode: "cpr-transfer" });
        expect(report.comparison.after?.differences).toEqual([]);
      }
      await vm.serial.waitForMore(20, 60_000);
      assertContiguous(vm.serial);
      expect(readFileSync(join(vm.dir, "101.pid"), "utf8").trim()).toBe(String(vm.qemus()[0]));
    });

    it("Proxmox VE, which knows it by the word of its pidfile: by cpr-exec alone", { timeout: 600_000 }, async () => {
      const { words, machine } = commandLines.find(({ listener }) => listener === "qmeventd.sock") as CommandLine;
      const vm = await startUpdatable({
        ...{ machine: machine ?? "", accel: "tcg", qemu: qemu["11.1"] },
        rewrite: (_, dir) => {
          mkdirSync(join(dir, "run/qemu-server"), { recursive: true });
          return words(dir, { boot: "firmware", kernel: [] }).map((word) =>
            word.replace(/.*\/101\.pid$/, join(dir, "run/qemu-server/101.pid")),
          );
        },
      });
      const pidfile = join(vm.dir, "run/qemu-server/101.pid");
      const [pid] = vm.qemus();
      const options = { stateDir: vm.stateDir, qemu: qemu["11.1"] };
      for (const mode of ["cpr-transfer", "copy"] as const) {
        await expect(updateVm({ qmp: vm.qmp }, { ...options, mode })).rejects.toThrow("[proxmox-pidfile]");
      }
      // What Proxmox VE looks at: the file, and the word behind -pidfile of the process that it names.
      const looksRunning = () => {
        const said = readFileSync(pidfile, "utf8").trim();
        const command = readFileSync(`/proc/${said}/cmdline`, "utf8").split("\0");
        return [Number(said), command[command.lastIndexOf("-pidfile") + 1]];
      };
      for (let round = 0; round < 2; round++) {
        const report = await updateVm({ qmp: vm.qmp }, { ...options, mode: "cpr-exec" });
        expect(report).toMatchObject({ outcome: "updated", mode: "cpr-exec" });
        expect(looksRunning()).toEqual([pid, pidfile]);
      }
      await vm.serial.waitForMore(20, 60_000);
      assertContiguous(vm.serial);
    });
  },
  { linux: true },
);
