// A guest behind passt, which serves one QEMU at a time: its network comes back by itself; npm run test:long.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { endAll, startUpdatable, type Updatable } from "./update-support.ts";

let passt: ChildProcess | undefined;

afterEach(async () => {
  await endAll();
  passt?.kill("SIGKILL");
});

describeQemu("a network behind passt", ["10.0", "11.1"], (qemu) => {
  it("connects again after the update with reconnect-ms, and is refused without", async (context) => {
    if (spawnSync("passt", ["--version"]).status !== 0) context.skip("passt is not installed");
    for (const reconnect of [",reconnect-ms=200", ""]) {
      const vm = await startUpdatable({
        qemu: qemu["10.0"],
        machine: "pc-q35-10.0",
        accel: await usableAccel(qemu["10.0"]),
        given: (dir) => {
          passt?.kill("SIGKILL");
          const path = join(dir, "passt.sock");
          passt = spawn("passt", ["-f", "-s", path, "--runas", "0"], { stdio: "ignore" });
          for (let tries = 0; tries < 500 && !existsSync(path); tries++) spawnSync("sleep", ["0.01"]);
          return [];
        },
        extraArgs: (dir) => [
          ...["-netdev", `stream,id=n,server=off,addr.type=unix,addr.path=${dir}/passt.sock${reconnect}`],
          ...["-device", "virtio-net-pci,netdev=n"],
        ],
      });
      await expect.poll(() => network(vm), { timeout: 10_000 }).toContain("unix:");
      const update = updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir });
      if (reconnect === "") {
        await expect(update).rejects.toThrow(/\[net-peer\]/);
        return;
      }
      expect((await update).warnings.join("\n")).toMatch(/as passt does, hangs up on the new one/);
      await expect.poll(() => network(vm), { timeout: 10_000 }).toContain("unix:");
      await sleep(500);
      expect(await network(vm)).toContain("unix:");
      await vm.end();
    }
  });
});

async function network(vm: Updatable): Promise<string> {
  const qmp = await connectQmp(vm.qmp, { timeoutMs: 5_000 });
  try {
    return await qmp.execute("human-monitor-command", { "command-line": "info network" });
  } finally {
    await qmp.close();
  }
}
