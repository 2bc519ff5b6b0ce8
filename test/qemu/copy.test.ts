// A VM that was not started for CPR: its RAM is copied into a new QEMU, once, and from then on it is updated by CPR.
// CPRKIT_LONG=1 adds versions and machines.
import { afterAll, afterEach, expect, it } from "vitest";
import { preflight } from "../../src/qemu/preflight/preflight.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import type { CopyProgress } from "../../src/qemu/update/options.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { addHugePages } from "../support/huge-pages.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import {
  endAll,
  fingerprint,
  runStates,
  startUpdatable,
  type Updatable,
  type UpdatableOptions,
} from "./update-support.ts";

afterEach(endAll);

/** For two QEMUs of 32 MiB. */
const takeBack = addHugePages(40);
afterAll(() => takeBack?.());

describeQemu(
  "an update by copy",
  ["7.2", "10.0", "11.1"],
  (qemu) => {
    type Version = keyof typeof qemu;
    type Case = readonly [Version, Version, string, NonNullable<UpdatableOptions["ram"]>];
    const more: readonly Case[] = [
      ["10.0", "11.1", "pc-i440fx-10.0", "plain"],
      ["11.1", "11.1", "pc-q35-10.0", "numa"],
      ["7.2", "11.1", "pc-q35-7.2", "plain"],
    ];
    const cases: readonly Case[] = [
      ...(process.env["CPRKIT_LONG"] === "1" ? more : []),
      ["10.0", "11.1", "pc-q35-10.0", "plain"],
      ["7.2", "10.0", "pc-i440fx-7.2", "numa"],
      ["10.0", "11.1", "pc-q35-10.0", "folder"],
      ["10.0", "11.1", "pc-q35-10.0", "file"],
      ["10.0", "11.1", "pc-q35-10.0", "huge"],
    ];
    for (const [from, to, machine, ram] of cases) {
      it.skipIf(ram === "huge" && takeBack === undefined)(
        `${machine}, RAM ${ram}: ${from} -> ${to}, then by CPR${ram === "huge" ? " [needs huge pages]" : ""}`,
        async () => {
          // A Linux guest checks its own memory; of the counting guest QEMU reads it.
          const isLinux = ram === "plain" || ram === "numa";
          const vm = await startUpdatable({
            ...{ qemu: qemu[from], machine, accel: "tcg", ram, devices: true },
            ...(isLinux ? { linux: "touch_mb=4 tick_us=2000" } : {}),
          });
          const before = isLinux ? undefined : await fingerprint(vm);
          const checkMemory = async () => {
            if (before !== undefined) expect(await fingerprint(vm)).toBe(before);
            await vm.serial.waitForMore(isLinux ? 501 : 20, 60_000);
          };
          const asked = { qemu: qemu[to], mode: "copy", stateDir: vm.stateDir } as const;
          const { ways, copy } = await preflight({ qmp: vm.qmp }, asked);
          expect(copy?.memory).toBeGreaterThan(ram === "file" ? 0 : 16 << 20);
          expect(copy?.ms).toBeGreaterThan(0);
          expect(ways.find(({ mode }) => mode === "copy")).toMatchObject({ ok: true });
          const report = await updateVm({ qmp: vm.qmp }, asked);
          expect(report).toMatchObject({ mode: "copy", outcome: "updated", runState: "running" });
          expect(report.warnings).toEqual([]);
          expect(report.comparison.after?.differences).toEqual([]);
          expect(await runStates(vm)).toEqual(new Map([[report.pid, "running"]]));
          await checkMemory();
          const by = await updateVm(
            { qmp: vm.qmp },
            { qemu: qemu["11.1"], mode: "cpr-transfer", stateDir: vm.stateDir },
          );
          expect(by).toMatchObject({ mode: "cpr-transfer", outcome: "updated", runState: "running" });
          await checkMemory();
          assertContiguous(vm.serial);
          if (isLinux) expect(vm.serial.text().match(/FILL OK/g)?.length).toBeGreaterThanOrEqual(2);
          expect(vm.serial.text()).not.toContain("FILL BAD");
        },
        180_000,
      );
    }

    it("of a guest that writes faster than is copied: given up in time, or with the pause that is allowed", async () => {
      const vm = await startUpdatable({
        ...{ qemu: qemu["10.0"], machine: "pc-q35-10.0", accel: "tcg", ram: "plain" },
        linux: "touch_mb=8 write_mb=12",
      });
      const before = await settings(vm);
      const seen: CopyProgress[] = [];
      const asked = { qemu: qemu["11.1"], stateDir: vm.stateDir, onCopy: (now: CopyProgress) => seen.push(now) };
      const refused = updateVm({ qmp: vm.qmp }, asked);
      await expect(refused).rejects.toThrow(/memory-not-shared.*It can be updated with .*--mode copy/);
      const slow = { ...asked, mode: "copy", maxBandwidth: 2 << 20, copyTimeoutMs: 4_000 } as const;
      await expect(updateVm({ qmp: vm.qmp }, slow)).rejects.toThrow(
        /rolled back: the old QEMU has the guest \(running\).*was not copied within \d+ s: \d+ of \d+ bytes are left/,
      );
      expect(seen.length).toBeGreaterThan(5);
      expect(seen.at(-1)).toMatchObject({ total: expect.any(Number) });
      expect(await runStates(vm)).toEqual(new Map([[vm.pid, "running"]]));
      expect(await settings(vm)).toEqual(before);
      await vm.serial.waitForMore(10, 20_000);
      // As a mode that is allowed, with a pause that is long enough for whatever is left.
      const report = await updateVm({ qmp: vm.qmp }, { ...asked, allowCopy: true, maxDowntimeMs: 30_000 });
      expect(report).toMatchObject({ mode: "copy", outcome: "updated", runState: "running" });
      await updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir });
      // The guest checks its own memory.
      await vm.serial.waitForMore(501, 90_000);
      expect(vm.serial.text()).toMatch(/FILL OK/);
      expect(vm.serial.text()).not.toMatch(/FILL BAD/);
      assertContiguous(vm.serial);
    }, 180_000);

    it("and back, as far as the devices' states go: 11.1 -> 10.0 -> 7.2", async () => {
      const vm = await startUpdatable({
        ...{ qemu: qemu["11.1"], machine: "pc-q35-7.2", accel: "tcg", ram: "memfd", devices: true },
      });
      for (const version of ["10.0", "7.2"] as const) {
        const asked = { qemu: qemu[version], mode: "copy", stateDir: vm.stateDir } as const;
        const { findings } = await preflight({ qmp: vm.qmp }, asked);
        expect(findings.map(({ code }) => code)).toContain("going-back");
        const report = await updateVm({ qmp: vm.qmp }, asked);
        expect(report.command.join(" ").includes("aux-ram-share")).toBe(version !== "7.2");
        await vm.serial.waitForMore(20, 20_000);
      }
      assertContiguous(vm.serial);
    });
  },
  { linux: true },
);

/** Migration settings, as they must be again after a rollback. */
async function settings({ qmp: path }: Updatable): Promise<unknown> {
  const qmp = await connectQmp(path);
  try {
    return [await qmp.execute("query-migrate-parameters"), await qmp.execute("query-migrate-capabilities")];
  } finally {
    await qmp.close();
  }
}
