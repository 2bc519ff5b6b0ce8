// Every system call of an update of a real VM is refused, once and always, at every place from which it is made: a clear
// error or success, no fd kept, no hang, the guest in exactly one QEMU, and status says so.
// A run of all places takes some ten minutes (CPRKIT_LONG=1); otherwise the last place of every other call is taken, and
// refused always.

import { readlinkSync, realpathSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { UpdateOptions } from "../../src/qemu/update/options.ts";
import { abortUpdate } from "../../src/qemu/update/recover.ts";
import { vmStatus } from "../../src/qemu/update/status.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { type SweepOptions, sweep } from "../support/kernel-answers.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { endAll, runStates, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

const long = process.env["CPRKIT_LONG"] === "1";

/** Of every other call the place from which it is made last: when most is at stake. */
const lastOfEach: NonNullable<SweepOptions["choose"]> = (sites) =>
  [...new Map(sites.map((site) => [site.call, site])).values()].filter((_, at) => at % 2 === 0);

/** What is not the same in an update that goes through. */
const lastOfRollback: SweepOptions["choose"] = (sites) =>
  lastOfEach(sites).filter(({ from }) => !/tap|calls/.test(from));

/** What must hold after every update, whatever became of it. */
async function faultsOf(vm: Updatable): Promise<string[]> {
  const faults: string[] = [];
  let status = await vmStatus({ qmp: vm.qmp }, { stateDir: vm.stateDir });
  if (status.update?.outcome === "unfinished") {
    await abortUpdate({ qmp: vm.qmp }, { stateDir: vm.stateDir });
    status = await vmStatus({ qmp: vm.qmp }, { stateDir: vm.stateDir });
  }
  const states = await runStates(vm);
  if (String([...states.values()]) !== "running") faults.push(`QEMUs: ${JSON.stringify([...states])}`);
  if (!states.has(status.pid ?? 0) || status.runState !== "running") faults.push(`status: ${status.text}`);
  await vm.serial.waitForMore(2, 10_000);
  assertContiguous(vm.serial);
  return faults;
}

describeQemu("what the kernel may answer during an update", ["10.0", "11.1"], (qemu) => {
  const start = async () =>
    startUpdatable({ qemu: qemu["10.0"], machine: "pc-q35-10.0", accel: await usableAccel(qemu["10.0"]) });

  /** To the other version, back at the next call. */
  const update = async (vm: Updatable, options: UpdateOptions): Promise<unknown[]> => {
    const [pid = 0] = vm.qemus();
    const isNew = readlinkSync(`/proc/${pid}/exe`).startsWith(realpathSync(dirname(qemu["11.1"])));
    const next = isNew ? qemu["10.0"] : qemu["11.1"];
    try {
      await updateVm({ qmp: vm.qmp }, { qemu: next, stateDir: vm.stateDir, timeoutMs: 3_000, ...options });
      return [];
    } catch (error) {
      return [error];
    }
  };

  const run = async (vm: Updatable, options: UpdateOptions, choose: SweepOptions["choose"]) => {
    const result = await sweep(() => update(vm, options), {
      check: () => faultsOf(vm),
      ...(long || choose === undefined ? {} : { choose, times: ["always"] }),
      // The new QEMU is connected to the test where the old one was.
      fds: "as many",
      limitMs: 15_000,
    });
    if (long) console.log(`${result.sites.length} places, refused once and always: ${result.failed} errors`);
    return result;
  };

  it("that goes through", { timeout: 1_800_000 }, async () => {
    const vm = await start();
    const { sites, failed, wrong } = await run(vm, {}, lastOfEach);
    expect(sites.length).toBeGreaterThan(10);
    expect(failed).toBeLessThan(2 * sites.length);
    expect(wrong).toEqual([]);
  });

  it("that is rolled back", { timeout: 1_800_000 }, async () => {
    const vm = await start();
    const { sites, wrong } = await run(vm, { hooks: { beforePause: "false" } }, lastOfRollback);
    expect(sites.length).toBeGreaterThan(4);
    expect(wrong).toEqual([]);
    expect(vm.qemus()).toEqual([vm.pid]);
  });
});
