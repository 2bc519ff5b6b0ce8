// Bitmaps of changed blocks: after an update they have the content that they had.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { ask, endAll, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

/** Each bitmap's properties, and the sum of its content. */
async function bitmaps(vm: Updatable): Promise<Record<string, unknown>> {
  return ask(vm, async (qmp) => {
    const seen: Record<string, unknown> = {};
    for (const node of await qmp.execute("query-named-block-nodes")) {
      for (const { name = "", granularity, recording, persistent, count } of node["dirty-bitmaps"] ?? []) {
        const named = node["node-name"] ?? "";
        const sum = await qmp.execute("x-debug-block-dirty-bitmap-sha256", { node: named, name });
        seen[`${named.replace(/^#.*/, "")} ${name}`] = { granularity, recording, persistent, count, sum };
      }
    }
    return seen;
  });
}

async function write(vm: Updatable, disk: string, where: string): Promise<void> {
  await ask(vm, async (qmp) => {
    const said = await qmp.execute("human-monitor-command", { "command-line": `qemu-io ${disk} "write ${where}"` });
    expect(said).toBe("");
  });
}

const disk = "-d /machine/peripheral/blk0/virtio-backend";

describeQemu("an update carries bitmaps", ["10.0", "11.1"], (qemu) => {
  const ways = [
    ["10.0", ["11.1", "10.0"], "cpr-transfer"],
    ["11.1", ["11.1"], "cpr-exec"],
    // Whose images the new QEMU takes only when it is told to.
    ["10.0", ["11.1"], "cpr-reboot", "paused"],
  ] as const;
  for (const [from, later, mode, paused] of ways) {
    it(`${[from, ...later].join(" -> ")}, ${mode}${paused === undefined ? "" : ", paused"}`, async () => {
      const vm = await startUpdatable({
        machine: "pc-q35-10.0",
        accel: "tcg",
        qemu: qemu[from],
        devices: true,
        extraArgs: (dir) => {
          copyFileSync(join(dir, "disk.qcow2"), join(dir, "d1.qcow2"));
          return ["-drive", `if=none,id=d1,file=${dir}/d1.qcow2`, "-device", "virtio-blk-pci,drive=d1,id=vd1"];
        },
      });
      await ask(vm, async (qmp) => {
        const add = (name: string, more: object) =>
          qmp.execute("block-dirty-bitmap-add", { node: "disk0", name, ...more });
        await add("plain", {});
        await add("fine", { granularity: 4096 });
        await add("off", {});
        await add("stored", { persistent: true });
        await add("stored-off", { persistent: true, disabled: true });
        await qmp.execute("block-dirty-bitmap-add", { node: "d1", name: "of-drive" });
      });
      await write(vm, disk, "1M 64k");
      await ask(vm, (qmp) => qmp.execute("block-dirty-bitmap-disable", { node: "disk0", name: "off" }));
      await write(vm, disk, "3M 4k");
      await write(vm, "d1", "64k 128k");
      if (paused !== undefined) await ask(vm, (qmp) => qmp.execute("stop"));
      const before = await bitmaps(vm);
      expect(Object.keys(before)).toHaveLength(6);
      for (const version of later) {
        const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
        expect(await bitmaps(vm)).toEqual(before);
        expect(report.warnings.filter((each) => each.startsWith("differs"))).toEqual([]);
      }
      // They go on.
      await write(vm, disk, "8M 64k");
      const after = (await bitmaps(vm)) as typeof before & { "disk0 plain": { count: number } };
      expect(after["disk0 plain"].count).toBe((before["disk0 plain"] as { count: number }).count + 65_536);
      expect(after["disk0 off"]).toEqual(before["disk0 off"]);
    });
  }

  it("and leaves them as they were when it is rolled back", async () => {
    const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"], devices: true });
    await ask(vm, (qmp) => qmp.execute("block-dirty-bitmap-add", { node: "disk0", name: "plain" }));
    await write(vm, disk, "1M 64k");
    const before = await bitmaps(vm);
    const failed = updateVm(
      { qmp: vm.qmp },
      {
        qemu: qemu["11.1"],
        stateDir: vm.stateDir,
        // The copies have been made.
        onStep: (step) => {
          if (step === "before-switch") throw new Error("enough");
        },
      },
    );
    await expect(failed).rejects.toThrow("enough");
    expect(await bitmaps(vm)).toEqual(before);
  });
});
