// The test guests themselves: every machine type boots them with both QEMUs, and they count without a gap.
import { expect, it } from "vitest";
import { type CprQemu, describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { type Accel, type Guest, startVm } from "../support/vm.ts";

const MACHINES = ["pc-q35-10.0", "pc-i440fx-10.0", "microvm"];
const VERSIONS: readonly CprQemu[] = ["10.0", "11.1"];

async function countTo(last: number, qemu: string, machine: string, accel: Accel, guest: Guest): Promise<string> {
  const vm = await startVm({ qemu, machine, accel, guest });
  try {
    await vm.listening();
    await vm.serial.waitForCount(last, 20_000);
    const seen = assertContiguous(vm.serial);
    expect(seen.first).toBe(0);
    expect(seen.last).toBeGreaterThanOrEqual(last);
    return vm.serial.text();
  } finally {
    await vm.kill();
  }
}

for (const version of VERSIONS) {
  describeQemu(`counting guest on QEMU ${version}`, [version], (qemu) => {
    const path = qemu[version];
    for (const machine of MACHINES) {
      it(`${machine}: as firmware, under the accelerator found`, async () => {
        await countTo(20, path, machine, await usableAccel(path), "firmware");
      });
      it(`${machine}: as firmware, under TCG`, () => countTo(20, path, machine, "tcg", "firmware"));
      it(`${machine}: from a disk behind SeaBIOS, under TCG`, () => countTo(20, path, machine, "tcg", "boot-sector"));
    }
  });
}

describeQemu(
  "Linux guest",
  ["10.0"],
  (qemu) => {
    it("says that it is ready and counts, under TCG", async () => {
      const text = await countTo(50, qemu["10.0"], "pc-q35-10.0", "tcg", "linux");
      expect(text).toContain("GUEST READY fill=none\n");
    });
  },
  { linux: true },
);
