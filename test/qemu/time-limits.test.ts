// The time limit of an update is one for each thing that it waits for, and a message names it when it ran out. That a QEMU
// which hangs is named in the same way is seen in fault-suite.ts.
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { limitMs } from "./fault-injection.ts";
import { endAll, runStates, startUpdatable } from "./update-support.ts";

afterEach(endAll);

describeQemu("the time limit of an update", ["10.0", "11.1"], (qemu) => {
  const start = async () => {
    const vm = await startUpdatable({ qemu: qemu["10.0"], machine: "pc-q35-10.0", accel: "tcg" });
    const timeoutMs = Math.round(limitMs(vm, { mode: "cpr-transfer", kind: "hang-destination", step: "started" }) / 2);
    const how = { qemu: qemu["11.1"], mode: "cpr-transfer", stateDir: vm.stateDir, timeoutMs } as const;
    return { vm, timeoutMs, how };
  };

  it("is not one for all that is done while the new QEMU waits", async () => {
    const { vm, timeoutMs, how } = await start();
    const report = await updateVm(
      { qmp: vm.qmp },
      {
        ...how,
        hooks: { beforePause: `sleep ${(0.6 * timeoutMs) / 1000}` },
        onStep: async (step) => {
          if (step === "destination-ready") await delay(0.6 * timeoutMs);
        },
      },
    );
    expect(report.outcome).toBe("updated");
    expect(await runStates(vm)).toEqual(new Map([[report.pid, "running"]]));
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  });

  it("is named when the operator's command was too slow", async () => {
    const { vm, timeoutMs, how } = await start();
    const failed = updateVm({ qmp: vm.qmp }, { ...how, hooks: { beforePause: "exec sleep 100" } });
    await expect(failed).rejects.toThrow(
      `Cause: the beforePause command did not end within ${timeoutMs} ms: exec sleep 100`,
    );
    expect(await runStates(vm)).toEqual(new Map([[vm.pid, "running"]]));
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  });
});
