// Several VMs of one host at the same time, and the spans that tell of it: real VMs, a real SDK of OpenTelemetry in the
// coordinator's and the agent's process.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { readVmDetails } from "../../fleet/src/ledger/operator.ts";
import { updateSteps } from "../../src/qemu/update/steps.ts";
import { endAll } from "../qemu/update-support.ts";
import { describeQemu } from "../support/qemu.ts";
import {
  endProcesses,
  expectRuns,
  type FleetProcess,
  fleet,
  makeHost,
  serves,
  startFleet,
  traced,
} from "./fleet-processes.ts";
import { describeFleet, type FleetDatabase } from "./fleet-support.ts";

afterEach(async () => {
  await endProcesses();
  await endAll();
});

interface SpanLine {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parent?: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly status: { readonly code: number; readonly message?: string };
}
const spansOf = ({ events }: FleetProcess) => events.filter(({ event }) => event === "span") as unknown as SpanLine[];
/** SpanStatusCode.ERROR. */
const failedCode = 2;

describeQemu("side by side", ["10.0", "11.1"], (qemu) => {
  describeFleet("on one host", (database) => {
    /** A rollout of all VMs of host a in one wave, three at a time, to its end. */
    async function rollOut(fleetDatabase: FleetDatabase, id: string, agent: FleetProcess, coordinator: FleetProcess) {
      const ops = ["--database", fleetDatabase.postgres.url("ops")];
      const policy = join(fleetDatabase.dir, `${id}.yaml`);
      writeFileSync(policy, "waves: []\nperHost: 3\nbudget: 9\n");
      await serves(agent, coordinator);
      const plan = await fleet("plan", ...ops, "--release", "new", "--id", id, "--host", "a", "--policy", policy);
      expect(plan.json, plan.text).toMatchObject({ silent: [] });
      const start = await fleet("start", ...ops, id);
      expect(start.status, start.text).toBe(0);
      return (await fleet("status", ...ops, id, "--watch")).json;
    }

    it("three are under way together, never two in the switch; a job's spans hang under its wave's, across processes", async () => {
      const host = makeHost(database(), "a", { old: qemu["10.0"], new: qemu["11.1"] }, "host-a", { atOnce: 3 });
      const names = ["one", "two", "three"];
      const vms = await Promise.all(names.map((name) => host.vm(name, qemu["10.0"])));
      const agent = host.child("tell", "all", traced());
      const coordinator = startFleet(["coordinator", "--database", database().postgres.url("ops")], traced());
      const end = await rollOut(database(), "together", agent, coordinator);
      expect(end).toMatchObject({ state: "finished", counts: { updated: 3 } });
      for (const vm of vms) await expectRuns(vm, qemu["11.1"]);

      // All three were begun before the first had ended.
      const kinds = agent.events.map(({ event }) => event).filter((event) => event === "begun" || event === "ended");
      expect(kinds.slice(0, 3)).toEqual(["begun", "begun", "begun"]);
      // From "before-switch" to "running" nobody else is in there.
      const switches = agent.events.filter(
        ({ event, step }) => event === "step" && (step === "before-switch" || step === "running"),
      );
      expect(switches.map(({ step }) => step)).toEqual(names.flatMap(() => ["before-switch", "running"]));

      await coordinator.until("the rollout's span", ({ event, name }) => event === "span" && name === "rollout");
      const [rollout] = spansOf(coordinator).filter(({ name }) => name === "rollout");
      const waves = spansOf(coordinator).filter(({ name }) => name === "wave");
      expect(rollout?.parent).toBeUndefined();
      expect(waves).toMatchObject([{ parent: rollout?.spanId, attributes: { rollout: "together", wave: 1 } }]);
      const jobs = spansOf(agent).filter(({ name }) => name === "update");
      expect(jobs.map(({ attributes }) => attributes["vm"]).sort()).toEqual([...names].sort());
      for (const job of jobs) {
        expect(job).toMatchObject({ traceId: rollout?.traceId, parent: waves[0]?.spanId, status: { code: 0 } });
        const steps = spansOf(agent).filter(({ parent }) => parent === job.spanId);
        expect(steps.map(({ name }) => name)).toEqual([...updateSteps["cpr-transfer"]]);
      }
    }, 240_000);

    it("without an SDK all is the same, and the ledger has no traces; a failure is on each span above it", async () => {
      const host = makeHost(database(), "a", { old: qemu["10.0"], new: qemu["11.1"] }, "host-a", { atOnce: 3 });
      const vm = await host.vm("four", qemu["10.0"]);
      const coordinator = startFleet(["coordinator", "--database", database().postgres.url("ops")]);
      const agent = host.agent();
      expect(await rollOut(database(), "plain", agent, coordinator)).toMatchObject({ state: "finished" });
      await expectRuns(vm, qemu["11.1"]);
      const query = "select trace from cprkit_fleet.rollout_vm where rollout = 'plain'";
      const { rows } = await database().owner.query(query);
      expect(rows.map(({ trace }) => trace)).toEqual(rows.map(() => null));
      await Promise.all([agent.end("SIGKILL"), coordinator.end("SIGKILL")]);

      const fails = await host.vm("five", qemu["10.0"]);
      const [failing, driving] = [
        host.child("fail", "destination-ready", traced()),
        startFleet(["coordinator", "--database", database().postgres.url("ops")], traced()),
      ];
      expect(await rollOut(database(), "failing", failing, driving)).toMatchObject({ counts: { failed: 1 } });
      await expectRuns(fails, qemu["10.0"]);
      expect(await readVmDetails(database().owner, "failing")).toContainEqual(
        expect.objectContaining({ vm: "five", state: "failed" }),
      );
      const error = { code: failedCode, message: expect.stringMatching(/a test says no/) };
      const [job] = spansOf(failing).filter(({ name }) => name === "update");
      expect(job).toMatchObject({ status: error });
      expect(spansOf(failing).at(-2)).toMatchObject({
        ...{ name: "after destination-ready", parent: job?.spanId, status: error },
      });
      await driving.until("the wave's span", ({ event, name }) => event === "span" && name === "wave");
      expect(spansOf(driving).find(({ name }) => name === "wave")).toMatchObject({
        ...{ spanId: job?.parent, status: { code: failedCode, message: "failed: a/five" } },
      });
    }, 240_000);
  });
});
