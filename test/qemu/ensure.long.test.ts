// `cprkit ensure` after a kill -9 at every place of an update, in every mode, and a hundred times: updated once.
import { afterEach, expect, it, vi } from "vitest";
import { updateModes } from "../../src/qemu/vm/binary.ts";
import { describeQemu } from "../support/qemu.ts";
import { ensure, expectOnce, killsInRecovery, killsOf, startFor } from "./ensure-kills.ts";
import { counted } from "./ensure-support.ts";
import { endAll, startPlain } from "./update-support.ts";

afterEach(endAll);

// Each test runs the command many times.
vi.setConfig({ testTimeout: 240_000 });

describeQemu("cprkit ensure, again", ["10.0", "11.1"], (qemu) => {
  for (const mode of updateModes) {
    it.each(killsOf(mode))(`${mode}, killed $when "$step"`, async (at) => {
      const { vm, wanted } = await startFor(mode, qemu);
      await expectOnce(mode, vm, wanted, [at]);
    });

    it.each(killsInRecovery)(`${mode}, killed at the stop, and again $when "$step"`, async (at) => {
      const { vm, wanted } = await startFor(mode, qemu);
      await expectOnce(mode, vm, wanted, [{ step: "stopped", when: "reached" }, at]);
    });
  }

  it("a hundred times", async () => {
    const vm = await startPlain(qemu["10.0"]);
    const wanted = counted(qemu["11.1"]);
    const results = Array.from({ length: 100 }, () => ensure(vm, wanted.program, []).answer?.result);
    expect(results).toEqual(["updated", ...Array<string>(99).fill("nothing-to-do")]);
    expect(wanted.starts()).toBe(1);
  });
});
