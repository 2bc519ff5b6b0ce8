// A VM that was not started for CPR: its RAM is copied into a new QEMU, once, and from then on it is updated by CPR.
import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { preflight } from "../../src/qemu/preflight/preflight.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { endAll, runStates, startUpdatable, type Updatable, type UpdatableOptions } from "./update-support.ts";

afterEach(endAll);

/** Of 8 MiB of guest RAM from 16 MiB on, as QEMU itself reads it. */
async function fingerprint({ qmp: path, dir }: Updatable): Promise<string> {
  const file = join(dir, "saved");
  const qmp = await connectQmp(path);
  try {
    await qmp.execute("pmemsave", { val: 16 << 20, size: 8 << 20, filename: file });
  } finally {
    await qmp.close();
  }
  const bytes = readFileSync(file);
  rmSync(file);
  return createHash("sha256").update(bytes).digest("hex");
}

describeQemu("an update by copy", ["7.2", "10.0", "11.1"], (qemu) => {
  type Version = keyof typeof qemu;
  const cases: readonly (readonly [Version, Version, string, NonNullable<UpdatableOptions["ram"]>])[] = [
    ["10.0", "11.1", "pc-q35-10.0", "plain"],
    ["10.0", "11.1", "pc-i440fx-10.0", "plain"],
    ["11.1", "11.1", "pc-q35-10.0", "numa"],
    ["7.2", "11.1", "pc-q35-7.2", "plain"],
    ["7.2", "10.0", "pc-i440fx-7.2", "numa"],
    ["10.0", "11.1", "pc-q35-10.0", "folder"],
    ["10.0", "11.1", "pc-q35-10.0", "file"],
  ];
  for (const [from, to, machine, ram] of cases) {
    it(`${machine}, RAM ${ram}: ${from} -> ${to}, then by CPR`, async () => {
      const vm = await startUpdatable({ qemu: qemu[from], machine, accel: "tcg", ram, devices: true });
      const before = await fingerprint(vm);
      const asked = { qemu: qemu[to], mode: "copy", stateDir: vm.stateDir } as const;
      const { ways } = await preflight({ qmp: vm.qmp }, asked);
      expect(ways.find(({ mode }) => mode === "copy")).toMatchObject({ ok: true });
      const report = await updateVm({ qmp: vm.qmp }, asked);
      expect(report).toMatchObject({ mode: "copy", outcome: "updated", runState: "running" });
      expect(report.warnings).toEqual([]);
      expect(report.comparison.after?.differences).toEqual([]);
      expect(await runStates(vm)).toEqual(new Map([[report.pid, "running"]]));
      expect(await fingerprint(vm)).toBe(before);
      await vm.serial.waitForMore(20, 20_000);
      const by = await updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], mode: "cpr-transfer", stateDir: vm.stateDir });
      expect(by).toMatchObject({ mode: "cpr-transfer", outcome: "updated", runState: "running" });
      expect(await fingerprint(vm)).toBe(before);
      await vm.serial.waitForMore(20, 20_000);
      assertContiguous(vm.serial);
    });
  }
});
