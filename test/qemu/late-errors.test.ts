// What the kernel refuses once the guest is in the new QEMU, or while an update is taken back: the guest is what counts,
// so the update goes on and says what is left to do.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { isRunning, processIdentity } from "../../src/linux/index.ts";
import { endProcess } from "../../src/linux/process/end-process.ts";
import { preflight } from "../../src/qemu/preflight/preflight.ts";
import type { UpdateOptions } from "../../src/qemu/update/options.ts";
import { abortUpdate } from "../../src/qemu/update/recover.ts";
import { vmStatus } from "../../src/qemu/update/status.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { refuse } from "../support/kernel-answers.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { endAll, runStates, startPlain, type Updatable, type UpdatableOptions } from "./update-support.ts";

let restore: () => void = () => undefined;

afterEach(async () => {
  restore();
  vi.restoreAllMocks();
  await endAll();
});

/** No process can be ended: neither by pidfd nor by pid. */
function refuseEnds(): void {
  const calls = refuse("pidfdOpen");
  const kill = vi.spyOn(process, "kill").mockImplementation(() => {
    throw new Error("kill EPERM");
  });
  restore = () => {
    calls();
    kill.mockRestore();
  };
}

describe("ending a process", () => {
  for (const calls of [[], ["pidfdOpen"], ["pidfdSendSignal"], ["pollNow"], ["pidfdOpen", "pollNow"]] as const) {
    it(`goes another way where the kernel refuses: ${calls.join(", ") || "nothing"}`, async () => {
      const child = spawn("sleep", ["1000"], { stdio: "ignore" });
      const identity = processIdentity(child.pid);
      restore = refuse(...calls);
      await expectNoFdLeak(async () => {
        expect(await endProcess({ ...identity, startTime: identity.startTime + 1n }, ["SIGKILL"], 50)).toBeUndefined();
        expect(isRunning(identity), "a process of another start time").toBe(true);
        expect(await endProcess(identity, [0], 20)).toMatch(
          /^process \d+ can't be ended: it has not ended within 20 ms/,
        );
        expect(await endProcess(identity, ["SIGKILL"], 5_000)).toBeUndefined();
      });
      expect(isRunning(identity)).toBe(false);
    });
  }

  it("says why it can't", async () => {
    const child = spawn("sleep", ["1000"], { stdio: "ignore" });
    refuseEnds();
    const why = await endProcess(processIdentity(child.pid), ["SIGTERM", "SIGKILL"], 5_000);
    expect(why).toBe(`process ${child.pid} can't be ended: Error: kill EPERM`);
    restore();
    child.kill("SIGKILL");
  });
});

describeQemu("an update that the kernel refuses something late", ["10.0", "11.1"], (qemu) => {
  const start = (extraArgs?: UpdatableOptions["extraArgs"]) => startPlain(qemu["10.0"], extraArgs);
  const update = (vm: Updatable, options: UpdateOptions) =>
    updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir, timeoutMs: 10_000, ...options });
  const expectCounting = async (vm: Updatable) => {
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  };

  for (const call of ["pidfdOpen", "pidfdSendSignal", "pollNow", "epollCreate", "close"] as const) {
    it(`${call}, from the point of no return on: updated`, async () => {
      const vm = await start();
      const onStep = (step: string) => {
        if (step === "running") restore = refuse(call);
      };
      const report = await update(vm, { onStep });
      expect(report).toMatchObject({ outcome: "updated", runState: "running", warnings: [] });
      expect(await runStates(vm)).toEqual(new Map([[report.pid, "running"]]));
      await expectCounting(vm);
    });
  }

  it("the old QEMU can't be ended: updated, and how to end it", async () => {
    // With a pidfile it is not asked to quit.
    const vm = await start((dir) => ["-pidfile", join(dir, "pid")]);
    const onStep = (step: string) => {
      if (step === "running") refuseEnds();
    };
    const report = await update(vm, { onStep });
    restore();
    expect(report).toMatchObject({ outcome: "updated", runState: "running" });
    const left = `the old QEMU is still there, but does not run the guest: process ${vm.pid} can't be ended`;
    expect(report.warnings.join()).toContain(left);
    expect(report.warnings.join()).toContain(`end it: kill -9 ${vm.pid}`);
    // Its monitor may still be letting go of the update.
    await expect
      .poll(() => vmStatus({ qmp: vm.qmp }, { stateDir: vm.stateDir }), { timeout: 20_000 })
      .toMatchObject({ guest: "destination", pid: report.pid, update: { outcome: "updated" } });
    await expectCounting(vm);
  });

  it("a file of the update can't be removed: updated, and which", async () => {
    const vm = await start();
    const onStep = (step: string) => {
      if (step !== "running") return;
      const [folder = ""] = readdirSync(vm.stateDir).filter((name) => name.startsWith("qmp"));
      const [id = ""] = readdirSync(join(vm.stateDir, folder)).filter((name) => /^[0-9a-f]{6}$/.test(name));
      const path = join(vm.stateDir, folder, id, "c");
      rmSync(path, { force: true });
      mkdirSync(path);
    };
    const report = await update(vm, { onStep });
    expect(report.warnings.join()).toMatch(/\/c is left over and could not be removed/);
    expect(await runStates(vm)).toEqual(new Map([[report.pid, "running"]]));
  });

  it("no pidfds while it is taken back: no second QEMU is left", async () => {
    const vm = await start();
    const onStep = (step: string) => {
      if (step === "started") restore = refuse("pidfdOpen");
    };
    const failed = update(vm, { onStep, hooks: { beforePause: "false" } });
    await expect(failed).rejects.toThrow(/^the update was rolled back: the old QEMU has the guest \(running\)/);
    expect(await runStates(vm)).toEqual(new Map([[vm.pid, "running"]]));
    await expectCounting(vm);
  });

  it("the new QEMU can't be ended while it is taken back: says who has the guest, and --abort tries again", async () => {
    const vm = await start();
    const onStep = (step: string) => {
      if (step === "started") refuseEnds();
    };
    const failed = update(vm, { onStep, hooks: { beforePause: "false" } });
    await expect(failed).rejects.toThrow(
      /^the update stands still: the old QEMU \(pid \d+\) has the guest \(running\)/,
    );
    expect(vm.qemus()).toHaveLength(2);
    restore();
    const status = await vmStatus({ qmp: vm.qmp }, { stateDir: vm.stateDir });
    expect(status).toMatchObject({ guest: "source", pid: vm.pid, update: { outcome: "unfinished" } });
    const recovery = await abortUpdate({ qmp: vm.qmp }, { stateDir: vm.stateDir });
    expect(recovery).toMatchObject({ outcome: "rolled-back", pid: vm.pid, warnings: [] });
    expect(await runStates(vm)).toEqual(new Map([[vm.pid, "running"]]));
    await expectCounting(vm);
  });

  it("preflight knows before anything is started, and --allow kernel goes on without pidfds", async () => {
    const vm = await start();
    for (const call of ["pidfdOpen", "pidfdSendSignal", "epollCreate", "sendmsg", "recvmsg"] as const) {
      restore = refuse(call);
      const { findings } = await expectNoFdLeak(() => preflight({ qmp: vm.qmp }, { qemu: qemu["11.1"] }));
      expect(findings, call).toMatchObject([{ code: "kernel", severity: "blocker" }]);
      restore();
    }
    restore = refuse("pidfdOpen", "pidfdSendSignal");
    await expect(update(vm, {})).rejects.toThrow(/nothing was changed\. \[kernel\] .*pidfd_open failed with ENOSYS/);
    expect(existsSync(vm.stateDir)).toBe(false);
    const report = await update(vm, { allow: ["kernel"] });
    expect(report.outcome).toBe("updated");
    expect(await runStates(vm)).toEqual(new Map([[report.pid, "running"]]));
    await expectCounting(vm);
  });
});
