// The update is done when the new QEMU says so of the guest, not when the old one has let go.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { abortUpdate } from "../../src/qemu/update/recover.ts";
import { vmStatus } from "../../src/qemu/update/status.ts";
import type { UpdateStep } from "../../src/qemu/update/steps.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { endAll, runStates, startUpdatable } from "./update-support.ts";

const helpers = new Set<ChildProcess>();

afterEach(async () => {
  for (const child of helpers) child.kill("SIGKILL");
  helpers.clear();
  await endAll();
});

/**
 * Another process takes a lock on the image that QEMU takes for "I write" (QEMU 10.0 block/file-posix.c: byte 101). The
 * old QEMU has its own already; the new one finds it when it wants to have the disk.
 */
async function lockImage(path: string): Promise<() => void> {
  const script = `open(F, "+<", $ARGV[0]) or die; $| = 1;
    my $lock = pack("s s x4 q q i x4", 0, 0, 101, 1, 0);
    fcntl(F, 37, $lock) or die "lock: $!"; print "locked"; sleep 600;`;
  const child = spawn("perl", ["-e", script, path], { stdio: ["ignore", "pipe", "inherit"] });
  helpers.add(child);
  await once(child.stdout, "data");
  return () => void child.kill("SIGKILL");
}

describeQemu("a new QEMU that can't have the disk", ["10.0", "11.1"], (qemu) => {
  for (const [from, to] of [
    ["10.0", "11.1"],
    ["11.1", "10.0"],
  ] as const) {
    it(`${from} to ${to}: the update is rolled back, and the guest runs on in the old one`, async () => {
      const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu[from], devices: true });
      const unlock = await lockImage(join(vm.dir, "disk.qcow2"));
      const onStep = (step: UpdateStep) => {
        if (step !== "stopped") return;
        // The old QEMU can't have the disk back before that either.
        setTimeout(unlock, 1_500);
      };
      const update = updateVm({ qmp: vm.qmp }, { qemu: qemu[to], stateDir: vm.stateDir, onStep });
      await expect(update).rejects.toMatchObject({
        code: "ERR_UPDATE_FAILED",
        message: expect.stringMatching(/rolled back: the old QEMU runs the guest again.*inmigrate.*write" lock/),
      });
      expect([...(await runStates(vm))]).toEqual([[vm.pid, "running"]]);
      await vm.serial.waitForMore(20, 20_000);
      assertContiguous(vm.serial);
    });

    it(`${from} to ${to}: while nobody can have it, the guest waits in the old one, and nothing is called lost`, async () => {
      const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu[from], devices: true });
      const unlock = await lockImage(join(vm.dir, "disk.qcow2"));
      const options = { stateDir: vm.stateDir, timeoutMs: 5_000 };
      const update = updateVm({ qmp: vm.qmp }, { ...options, qemu: qemu[to] });
      await expect(update).rejects.toThrow(/stands still: the old QEMU has the guest, but can't run it: .*write/);
      expect([...(await runStates(vm))]).toEqual([[vm.pid, "postmigrate"]]);
      expect(await vmStatus({ qmp: vm.qmp }, options)).toMatchObject({ update: { outcome: "unfinished" } });
      unlock();
      expect(await abortUpdate({ qmp: vm.qmp }, options)).toMatchObject({ outcome: "rolled-back", pid: vm.pid });
      expect([...(await runStates(vm))]).toEqual([[vm.pid, "running"]]);
      await vm.serial.waitForMore(20, 20_000);
      assertContiguous(vm.serial);
    });
  }
});
