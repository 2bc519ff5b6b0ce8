// A QEMU that does not answer is waited for as long as the update was told to, and no longer.
import { afterEach, expect, it } from "vitest";
import type { UpdateStep } from "../../src/qemu/update/steps.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { endAll, runStates, startUpdatable } from "./update-support.ts";

afterEach(endAll);

const timeoutMs = 1_500;

describeQemu("cprkit update with a QEMU that is stopped", ["10.0"], (qemu) => {
  const cases: readonly (readonly [who: "source" | "destination", step: UpdateStep])[] = [
    ["source", "inspected"],
    ["source", "planned"],
    ["destination", "listening"],
  ];

  it.each(cases)("the %s at %s: the error names the time limit, the guest goes on in the old one", async (who, at) => {
    const vm = await startUpdatable({ qemu: qemu["10.0"], machine: "pc-q35-10.0", accel: "tcg" });
    const stopped: number[] = [];
    try {
      const update = updateVm(
        { qmp: vm.qmp },
        {
          stateDir: vm.stateDir,
          timeoutMs,
          onStep: (step, processes) => {
            const pid = processes[who];
            if (step !== at || pid === undefined) return;
            process.kill(pid, "SIGSTOP");
            stopped.push(pid);
          },
        },
      );
      await expect(update).rejects.toThrow(`within ${timeoutMs} ms`);
    } finally {
      for (const pid of stopped) {
        try {
          process.kill(pid, "SIGCONT");
        } catch {
          // Ended by the rollback.
        }
      }
    }
    expect(stopped).toHaveLength(1);
    await vm.serial.waitForMore(3, 10_000);
    expect(await runStates(vm)).toEqual(new Map([[vm.pid, "running"]]));
    assertContiguous(vm.serial);
  });
});
