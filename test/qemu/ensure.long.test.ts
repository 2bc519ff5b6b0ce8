// ensureUpdated after a kill -9 at every step, and a hundred times: one QEMU, updated once.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it } from "vitest";
import { updateSteps } from "../../src/qemu/update/steps.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { counted } from "./ensure-support.ts";
import { endAll, runStates, startPlain } from "./update-support.ts";

afterEach(endAll);

const child = fileURLToPath(new URL("children/ensure.mjs", import.meta.url));

describeQemu("ensureUpdated, again", ["10.0", "11.1"], (qemu) => {
  const run = (...words: string[]) => {
    const { signal, stdout, stderr } = spawnSync(process.execPath, [child, ...words], { encoding: "utf8" });
    return { signal, stderr, answer: signal === null ? JSON.parse(stdout || "null") : undefined };
  };

  it.each(updateSteps["cpr-transfer"])("killed at %s", async (step) => {
    const vm = await startPlain(qemu["10.0"]);
    const wanted = counted(qemu["11.1"]);
    expect(run(vm.qmp, wanted.program, vm.stateDir, step).signal).toBe("SIGKILL");
    const { answer, stderr } = run(vm.qmp, wanted.program, vm.stateDir);
    expect({ answer, stderr }).toMatchObject({
      answer: { result: expect.stringMatching(/^(updated|nothing-to-do)$/) },
    });
    expect(run(vm.qmp, wanted.program, vm.stateDir).answer).toMatchObject({ result: "nothing-to-do", pid: answer.pid });
    expect([...(await runStates(vm)).values()]).toEqual(["running"]);
    // Once more than one only if the first one was taken back.
    expect(wanted.starts()).toBeLessThanOrEqual(answer.recovered === "rolled-back" ? 2 : 1);
    await vm.serial.waitForMore(5, 10_000);
    assertContiguous(vm.serial);
  });

  it("a hundred times", async () => {
    const vm = await startPlain(qemu["10.0"]);
    const wanted = counted(qemu["11.1"]);
    const results = Array.from({ length: 100 }, () => run(vm.qmp, wanted.program, vm.stateDir).answer?.result);
    expect(results).toEqual(["updated", ...Array<string>(99).fill("nothing-to-do")]);
    expect(wanted.starts()).toBe(1);
  });
});
