// A Linux guest takes part in the hotplug of PCI: what was plugged in before an update is unplugged after it, and the slot
// takes another device.
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import type { Qmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { ask, endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

/** The guest's drivers let go of it. A request that it does not see in time is made again. */
async function unplug(qmp: Qmp, id: string): Promise<void> {
  const since = qmp.lastEventSeq();
  for (let time = 0; time < 6; time++) {
    await qmp.execute("device_del", { id }).catch((error: unknown) => {
      if (time === 0) throw error;
    });
    await sleep(6_000);
    if (qmp.events().some(({ name, seq, data }) => seq > since && name === "DEVICE_DELETED" && data["device"] === id))
      return;
  }
  throw new Error(`the guest did not let go of ${id}`);
}

describeQemu(
  "devices behind root ports, with a Linux guest",
  ["10.0", "11.1"],
  (qemu) => {
    for (const by of ["acpi", "pciehp"] as const) {
      for (const [from, later, mode] of [
        ["10.0", ["11.1", "10.0"], "cpr-transfer"],
        ["11.1", ["11.1"], "cpr-exec"],
      ] as const) {
        it(`are unplugged after the update as before it (${by}): ${[from, ...later].join(" -> ")}`, async () => {
          const vm = await startUpdatable({
            machine: "pc-q35-10.0",
            accel: "tcg",
            qemu: qemu[from],
            linux: "quiet",
            extraArgs: () => [
              ...[
                "-device",
                "pcie-root-port,id=rp1,chassis=1,slot=1",
                "-device",
                "pcie-root-port,id=rp2,chassis=2,slot=2",
              ],
              ...(by === "acpi" ? [] : ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]),
            ],
          });
          await ask(vm, async (qmp) => {
            await qmp.execute("device_add", { driver: "virtio-net-pci", id: "nic1", bus: "rp1" });
            await qmp.execute("device_add", { driver: "virtio-rng-pci", id: "rng2", bus: "rp2" });
          });
          // The guest has seen them.
          await sleep(8_000);
          await ask(vm, (qmp) => unplug(qmp, "rng2"));
          for (const version of later) {
            const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
            expect(report.comparison.after?.differences).toEqual([]);
          }
          await ask(vm, async (qmp) => {
            await unplug(qmp, "nic1");
            await qmp.execute("device_add", { driver: "virtio-rng-pci", id: "rng1", bus: "rp1" });
            await sleep(8_000);
            await unplug(qmp, "rng1");
          });
        }, 300_000);
      }
    }
  },
  { linux: true },
);
