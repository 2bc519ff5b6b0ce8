// After an abort the ledger says of every VM what runs: at each step of an update, and at any moment with three side by side.

import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { enqueueVms } from "../../fleet/src/engine.ts";
import { readRollout, readVmDetails } from "../../fleet/src/ledger/operator.ts";
import { abort } from "../../fleet/src/operator/steer.ts";
import { updateSteps } from "../../src/qemu/update/steps.ts";
import { endAll, runStates, type Updatable } from "../qemu/update-support.ts";
import { describeQemu } from "../support/qemu.ts";
import { endProcesses, expectRuns, fleet, makeHost, serves } from "./fleet-processes.ts";
import { describeFleet, makeRollout } from "./fleet-support.ts";

afterEach(async () => {
  await endProcesses();
  await endAll();
});

const steps = updateSteps["cpr-transfer"];
const isBack = (step: (typeof steps)[number]) => steps.indexOf(step) <= steps.indexOf("before-switch");

describeQemu("an abort", ["10.0", "11.1"], (qemu) => {
  const releases = { old: qemu["10.0"], new: qemu["11.1"] };

  describeFleet("and the ledger", (database) => {
    it("at each step of an update: before the switch it is taken back, after it finished; what waits is left", async () => {
      const [host, ops] = [makeHost(database(), "a", releases), database().as("ops")];
      let vm = await host.vm("back", qemu["10.0"]);
      for (const step of steps) {
        const id = `at-${step}`;
        const name = isBack(step) ? "back" : `on-${step}`;
        if (!isBack(step)) vm = await host.vm(name, qemu["10.0"]);
        // Beside it one that is planned, and one that waits on the queue of a host without an agent.
        await makeRollout(ops, id, [`a/${name}`, "a/later", `b/${id}`]);
        await enqueueVms(ops, id, [
          { host: "a", vm: name },
          { host: "b", vm: id },
        ]);
        const agent = host.child("hold", step);
        await agent.until(`that it holds at ${step}`, ({ event }) => event === "holds");
        const over = abort(ops, id, { waitMs: 60_000 });
        await expect.poll(async () => (await readRollout(ops, id)).state).toBe("aborted");
        agent.go();
        expect([step, await over]).toEqual([step, []]);
        const rows = await readVmDetails(ops, id);
        const skipped = { state: "skipped", code: "aborted" };
        const rowOf = (wanted: string) => rows.find((row) => row.vm === wanted);
        expect([step, rowOf("later"), rowOf(id)]).toMatchObject([step, skipped, skipped]);
        const ended = isBack(step) ? skipped : { state: "updated", after: { release: "new" } };
        expect([step, rowOf(name)]).toMatchObject([step, ended]);
        await expectRuns(vm, isBack(step) ? releases.old : releases.new);
        await agent.end();
      }
    }, 600_000);

    it("an agent that is told to end before the switch takes it back, says so, and the job comes again", async () => {
      const [host, ops] = [makeHost(database(), "b", releases), database().as("ops")];
      const vm = await host.vm("told", qemu["10.0"]);
      await makeRollout(ops, "told", ["b/told"]);
      await enqueueVms(ops, "told", [{ host: "b", vm: "told" }]);
      const agent = host.child("hold", "destination-ready");
      await agent.until("that it holds", ({ event }) => event === "holds");
      agent.child.kill("SIGTERM");
      agent.go();
      expect(await agent.exited).toBe(0);
      expect(await readVmDetails(ops, "told")).toMatchObject([{ state: "planned", taken_back: 1 }]);
      await expectRuns(vm, releases.old);
      host.agent();
      await enqueueVms(ops, "told", [{ host: "b", vm: "told" }]);
      const state = async () => (await readVmDetails(ops, "told"))[0]?.state;
      await expect.poll(state, { timeout: 60_000 }).toBe("updated");
      await expectRuns(vm, releases.new);
    }, 180_000);

    it("at any moment, three VMs side by side: what the ledger calls updated is, and nothing else", async () => {
      const ops = database().as("ops");
      const host = makeHost(database(), "c", releases, "host-c", { atOnce: 3 });
      const agent = host.agent();
      await serves(agent);
      const seen = new Set<string>();
      // How long after the jobs were queued: part of the fault, nothing is waited for by it.
      for (const afterMs of [300, 1_500, 3_000, 5_000]) {
        const id = `any-${afterMs}`;
        const names = [0, 1, 2].map((at) => `${id}-${at}`);
        const vms = await Promise.all(names.map((name) => host.vm(name, qemu["10.0"])));
        await makeRollout(
          ops,
          id,
          names.map((name) => `c/${name}`),
        );
        await enqueueVms(
          ops,
          id,
          names.map((vm) => ({ host: "c", vm })),
        );
        await sleep(afterMs);
        const said = await fleet("abort", "--database", database().postgres.url("ops"), id);
        expect(said, said.text).toMatchObject({ status: 0, json: { state: "aborted", inHand: [] } });
        const rows = await readVmDetails(ops, id);
        for (const [at, vm] of vms.entries()) {
          const row = rows.find((each) => each.vm === names[at]);
          const runs = (await programOf(vm)) === inodeOf(releases.new) ? "updated" : "skipped";
          expect([row?.vm, row?.state]).toEqual([names[at], runs]);
          await expectRuns(vm, runs === "updated" ? releases.new : releases.old);
          seen.add(runs);
        }
      }
      console.log(`states seen after an abort at any moment: ${[...seen].join(", ")}`);
    }, 600_000);
  });
});

/** The inode of the one program that runs the guest. */
async function programOf(vm: Updatable): Promise<number> {
  const [pid, ...others] = (await runStates(vm)).keys();
  expect(others).toEqual([]);
  return statSync(`/proc/${pid}/exe`).ino;
}
const inodeOf = (qemu: string) => statSync(join(dirname(qemu), "root/usr/bin/qemu-system-x86_64")).ino;
