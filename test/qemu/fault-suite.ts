// Faults at every step of an update. After each one the guest runs in exactly one QEMU, or it is said that it is lost;
// nothing is left behind; status tells the truth; --resume or --abort finishes.
// CPRKIT_LONG=1 adds the points that differ little from others.
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import type { UpdateModeName } from "../../src/qemu/vm/binary.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { expectedAfter, expectSettled, limitMs, strike } from "./fault-injection.ts";
import { badBinaries, failsToLoad, faultPoints } from "./fault-points.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

const long = process.env["CPRKIT_LONG"] === "1";

/** The suite of one mode. */
export function faultSuite(mode: UpdateModeName): void {
  describeQemu(`faults in cprkit update, ${mode}`, ["10.0", "11.1"], (qemu) => {
    const start = async () => {
      const path = mode === "cpr-exec" ? qemu["11.1"] : qemu["10.0"];
      const ram = mode === "copy" ? "plain" : "memfd";
      return startUpdatable({ qemu: path, machine: "pc-q35-10.0", accel: await usableAccel(path), ram });
    };
    const points = faultPoints(mode, long).filter(
      ({ kind, step }) =>
        long ||
        ((mode !== "cpr-reboot" || ["kill-destination", "state-disk-full", "state-garbage"].includes(kind)) &&
          (mode !== "copy" ||
            (["destination-ready", "switching", "stopped", "running"].includes(step) && !kind.startsWith("hang")))),
    );
    if (mode === "cpr-transfer" || mode === "cpr-exec") {
      it(`there are at least 60 points`, () => {
        expect(points.length + badBinaries.length).toBeGreaterThanOrEqual(60);
      });
    }
    for (const point of points) {
      it(`${point.kind} at "${point.step}"`, async () => {
        const vm = await start();
        const struck = await strike(vm, point, {});
        expect(struck.struck, `the step was not reached: ${struck.message}`).toBe(true);
        const where = await expectSettled(vm, point, struck);
        const expected = expectedAfter(point);
        if (expected !== "either") expect(where, struck.message).toBe(expected);
        else if (point.kind !== "kill-source" && point.kind !== "kill-destination") expect(where).not.toBe("lost");
        if (where === "lost") expect(struck.message).toMatch(/lost|ended|closed/);
        // Whoever set the time limit must see that it was the limit.
        if (point.kind.startsWith("hang") && struck.message !== undefined)
          expect(struck.message).toContain(`within ${limitMs(vm, point)} ms`);
      });
    }
    for (const { name, script } of mode === "cpr-exec"
      ? badBinaries
      : mode === "copy"
        ? [failsToLoad]
        : [...(mode === "cpr-reboot" && !long ? badBinaries.slice(-2) : badBinaries), failsToLoad]) {
      it(`a new QEMU that ${name}`, async () => {
        const vm = await start();
        const program = join(vm.dir, "new-qemu");
        const [own, other] = mode === "cpr-exec" ? (["11.1", "10.0"] as const) : (["10.0", "11.1"] as const);
        writeFileSync(program, `#!/bin/sh\nQEMU=${qemu[own]}\nOTHER=${qemu[other]}\n${script}\n`);
        chmodSync(program, 0o755);
        const update = () =>
          updateVm({ qmp: vm.qmp }, { qemu: program, mode, stateDir: vm.stateDir, timeoutMs: 2_000 });
        await expectNoFdLeak(() => expect(update()).rejects.toThrow());
        const where = await expectSettled(
          vm,
          { mode, kind: "ctrl-c", step: "started" },
          { struck: true, message: "it failed" },
        );
        expect(where).toBe("source");
      });
    }
  });
}
