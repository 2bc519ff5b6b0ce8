// kill -9 of agents, coordinator and PostgreSQL again and again in the middle of a rollout (matrix.long.test.ts has each of
// them at each point), and what else may happen to a fleet: in the end every VM has one QEMU, was updated once, and the
// ledger says what is.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { enqueueVms } from "../../fleet/src/engine.ts";
import { adopt, readVmDetails } from "../../fleet/src/ledger/operator.ts";
import { endAll } from "../qemu/update-support.ts";
import { describeQemu } from "../support/qemu.ts";
import { endProcesses, expectRuns, fleet, makeHost, serves, startFleet } from "./fleet-processes.ts";
import { describeFleet, makeRollout } from "./fleet-support.ts";

afterEach(async () => {
  await endProcesses();
  await endAll();
});

describeQemu("kill -9", ["10.0", "11.1"], (qemu) => {
  const releases = { old: qemu["10.0"], new: qemu["11.1"] };

  describeFleet("of a process of the fleet", (database) => {
    it("of coordinator, agents and PostgreSQL, again and again, while six VMs are updated", async () => {
      const hosts = ["a", "b", "c"].map((name) => makeHost(database(), name, releases));
      const vms = await Promise.all(
        hosts.flatMap((host) => ["x", "y"].map((vm) => host.vm(`chaos-${vm}`, qemu["10.0"]))),
      );
      const ops = ["--database", database().postgres.url("ops")];
      let coordinator = startFleet(["coordinator", ...ops]);
      let agents = hosts.map((host) => host.agent());
      await serves(coordinator, ...agents);
      const plan = await fleet("plan", ...ops, "--release", "new", "--id", "chaos");
      expect(plan.json, plan.text).toMatchObject({ waves: [1, 1, 4], silent: [] });
      await fleet("start", ...ops, "chaos");
      const state = async () => (await fleet("status", ...ops, "chaos")).json?.["state"];
      for (let round = 0; round < 30 && (await state()) !== "finished"; round++) {
        await sleep(700);
        if (round % 3 === 0) {
          await agents[round % 2]?.end("SIGKILL");
          agents = agents.map((agent, at) => (at === round % 2 ? (hosts[at]?.agent() ?? agent) : agent));
        } else if (round % 3 === 1) {
          await coordinator.end("SIGKILL");
          coordinator = startFleet(["coordinator", ...ops]);
        } else {
          await database().postgres.kill();
          await database().postgres.start();
          // The coordinator ends with its connection; whoever started it starts it again.
          await coordinator.end("SIGKILL");
          coordinator = startFleet(["coordinator", ...ops]);
        }
      }
      await expect.poll(state, { timeout: 120_000, interval: 1_000 }).toBe("finished");
      const rows = await readVmDetails(database().owner, "chaos");
      expect(rows.map((row) => row.state)).toEqual(rows.map(() => "updated"));
      for (const vm of vms) await expectRuns(vm, releases.new);
      const said = "select count(*)::int as n from cprkit_fleet.audit where rollout = 'chaos' and what = 'vm-updated'";
      expect((await database().owner.query(said)).rows).toEqual([{ n: vms.length }]);
      // Each was updated once: each VM's folder of journals has one generation beyond the first.
      for (const host of hosts) {
        for (const name of readdirSync(join(host.state, "updates"))) {
          const journal = JSON.parse(readFileSync(join(host.state, "updates", name, "journal.json"), "utf8"));
          expect(journal.outcome).toBe("updated");
        }
      }
    }, 400_000);

    it("a database that dies just before the switch: taken back; just after it: the update goes on, and is told later", async () => {
      const [host, ops] = [makeHost(database(), "c", releases), database().as("ops")];
      const vm = await host.vm("lonely", qemu["10.0"]);
      await makeRollout(ops, "r-dies", ["c/lonely"]);
      await enqueueVms(ops, "r-dies", [{ host: "c", vm: "lonely" }]);
      for (const [step, state, release] of [
        ["destination-ready", "planned", "old"],
        ["stopped", "updated", "new"],
      ] as const) {
        const agent = host.child("hold", step);
        await agent.until("that it holds", ({ event }) => event === "holds");
        await database().postgres.kill();
        agent.go();
        const ended = await agent.until("the end", ({ event }) => event === "ended");
        expect(ended).toMatchObject({ result: { state } });
        await expectRuns(vm, releases[release]);
        await database().postgres.start();
        await expect.poll(async () => (await readVmDetails(ops, "r-dies"))[0]?.state, { timeout: 30_000 }).toBe(state);
        await agent.end();
        if (state === "planned") await enqueueVms(ops, "r-dies", [{ host: "c", vm: "lonely" }]);
      }
    }, 180_000);

    it("an agent that is upgraded in the middle of a rollout goes on with its jobs", async () => {
      const [host, ops] = [makeHost(database(), "b", releases), database().as("ops")];
      const vm = await host.vm("upgraded", qemu["10.0"]);
      await makeRollout(ops, "r-upgrade", ["b/upgraded"]);
      await enqueueVms(ops, "r-upgrade", [{ host: "b", vm: "upgraded" }]);
      const before = host.child("kill", "started");
      await before.exited;
      // Another program file altogether serves the queue then.
      const agent = host.agent();
      await serves(agent);
      const state = async () => (await readVmDetails(ops, "r-upgrade"))[0]?.state;
      await expect.poll(state, { timeout: 60_000 }).toMatch(/^(planned|updated)$/);
      if ((await state()) === "planned") await enqueueVms(ops, "r-upgrade", [{ host: "b", vm: "upgraded" }]);
      await expect.poll(state, { timeout: 60_000 }).toBe("updated");
      await expectRuns(vm, releases.new);
    }, 180_000);
  });

  describeFleet("and a restored database", (database) => {
    it("changes no VM until the operator says so", async () => {
      const ops = ["--database", database().postgres.url("ops")];
      const host = makeHost(database(), "a", releases);
      const [one, two] = [await host.vm("one", qemu["10.0"]), await host.vm("two", qemu["10.0"])];
      const pool = database().as("ops");
      await makeRollout(pool, "r-old", ["a/one", "a/two"]);
      let agent = host.agent();
      await serves(agent);
      await agent.until("a heartbeat", ({ event }) => event === "note");
      // A backup as it is made by copying the files of a server that stands still.
      await database().postgres.backUp();
      await enqueueVms(pool, "r-old", [{ host: "a", vm: "one" }]);
      const stateOf = async (vm: string) => (await readVmDetails(pool, "r-old")).find((row) => row.vm === vm)?.state;
      await expect.poll(() => stateOf("one"), { timeout: 60_000 }).toBe("updated");
      expect((await fleet("abort", ...ops, "r-old")).status).toBe(0);
      await agent.end();

      await database().postgres.restore();
      expect(await stateOf("two")).toBe("planned");
      await enqueueVms(pool, "r-old", [{ host: "a", vm: "two" }]);
      agent = host.agent();
      await serves(agent);
      await agent.until("why not", ({ text }) => /remembers what the ledger does not know/.test(String(text)));
      await expectRuns(two, releases.old);
      await expectRuns(one, releases.new);

      const { json } = await fleet("host", "list", ...ops);
      expect(json).toMatchObject({
        hosts: expect.arrayContaining([expect.objectContaining({ name: "a", inOrder: false })]),
      });
      await adopt(pool, "a");
      await makeRollout(pool, "r-anew", ["a/two"]);
      await pool.query(
        "update cprkit_fleet.rollout_vm set state = 'planned' where rollout = 'r-old' and state = 'queued'",
      );
      await enqueueVms(pool, "r-anew", [{ host: "a", vm: "two" }]);
      await expect
        .poll(async () => (await readVmDetails(pool, "r-anew"))[0]?.state, { timeout: 60_000 })
        .toBe("updated");
      await expectRuns(two, releases.new);
    }, 180_000);
  });
});
