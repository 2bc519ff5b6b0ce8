// A migration that another client of QEMU has begun is not the update's to cancel, whatever became of the update.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { connectQmp, type Qmp } from "../../src/qemu/qmp/client.ts";
import { abortUpdate } from "../../src/qemu/update/recover.ts";
import type { UpdateStep } from "../../src/qemu/update/steps.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import type { CprModeName } from "../../src/qemu/vm/binary.ts";
import { repoRoot } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { slowMigration } from "../support/slow-migration.ts";
import { endAll, runStates, startPlain, type Updatable } from "./update-support.ts";

afterEach(endAll);

describeQemu("another client's migration", ["11.1"], ({ "11.1": qemu }) => {
  const start = () => startPlain(qemu, (dir) => ["-qmp", `unix:${join(dir, "other.sock")},server=on,wait=off`]);

  /** The update was taken back, the guest runs in the old QEMU, and the migration goes on; ends that. */
  async function expectLeftAlone(vm: Updatable, other: Qmp): Promise<void> {
    expect(await other.execute("query-migrate")).toMatchObject({ status: "active" });
    expect(await runStates(vm)).toEqual(new Map([[vm.pid, "running"]]));
    await other.execute("migrate_cancel");
    await other.close();
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  }

  /** The last step at which the source's migration can still be another's. */
  const last: readonly (readonly [CprModeName, UpdateStep])[] = [
    ["cpr-transfer", "listening"],
    ["cpr-exec", "before-switch"],
    ["cpr-reboot", "before-switch"],
  ];
  it.each(last)("%s: one that is begun before the update's own, at %s, goes on", async (mode, at) => {
    const vm = await start();
    const other = await connectQmp(join(vm.dir, "other.sock"));
    const update = updateVm(
      { qmp: vm.qmp },
      {
        stateDir: vm.stateDir,
        mode,
        timeoutMs: 20_000,
        onStep: async (step) => {
          if (step === at) await slowMigration(other, vm.pid, join(vm.dir, "other.state"));
        },
      },
    );
    await expect(update).rejects.toThrow(
      /^the update was rolled back: .*another client's migration \(active\) was left/,
    );
    await expect(update).rejects.toThrow(`settings of process ${vm.pid} (mode ${mode}) were not put back`);
    await expectLeftAlone(vm, other);
  });

  it("a guest that it has saved is not continued", async () => {
    const vm = await start();
    const other = await connectQmp(join(vm.dir, "other.sock"));
    const update = updateVm(
      { qmp: vm.qmp },
      {
        stateDir: vm.stateDir,
        mode: "cpr-reboot",
        onStep: async (step) => {
          if (step !== "before-switch") return;
          await other.execute("migrate-set-parameters", { mode: "normal" });
          await other.execute("migrate", { uri: `file:${join(vm.dir, "other.state")}` });
          while ((await other.execute("query-status")).status !== "postmigrate") await other.execute("query-migrate");
        },
      },
    );
    await expect(update).rejects.toThrow(/rolled back: the old QEMU has given the guest away \(postmigrate\)/);
    await other.close();
    expect(await runStates(vm)).toEqual(new Map([[vm.pid, "postmigrate"]]));
  });

  it("cpr-reboot: one that is begun when cprkit has been killed goes on after --abort", async () => {
    const vm = await start();
    const words = ["update", "--qmp", vm.qmp, "--state-dir", vm.stateDir, "--mode", "cpr-reboot"];
    // The hook's parent is cprkit.
    const hook = ["--before-pause", "kill -9 $PPID"];
    const { signal } = spawnSync(process.execPath, [join(repoRoot, "bin/cprkit"), ...words, ...hook], {
      stdio: "ignore",
    });
    expect(signal).toBe("SIGKILL");
    const other = await connectQmp(join(vm.dir, "other.sock"));
    await slowMigration(other, vm.pid, join(vm.dir, "other.state"));
    const recovery = await abortUpdate({ qmp: vm.qmp }, { stateDir: vm.stateDir });
    expect(recovery).toMatchObject({ outcome: "rolled-back", pid: vm.pid });
    expect(recovery.why).toMatch(/another client's migration \(active\) was left alone/);
    await expectLeftAlone(vm, other);
  });
});
