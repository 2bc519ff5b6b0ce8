// A rollout over two hosts with real VMs, by the commands that people type.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { deadAfterMs } from "../../fleet/src/waves/next.ts";
import { endAll } from "../qemu/update-support.ts";
import { describeQemu } from "../support/qemu.ts";
import { endProcesses, expectRuns, fleet, makeHost, serves, startFleet } from "./fleet-processes.ts";
import { describeFleet } from "./fleet-support.ts";

afterEach(async () => {
  await endProcesses();
  await endAll();
});

describeQemu("a rollout", ["10.0", "11.1"], (qemu) => {
  describeFleet("of real VMs", (database) => {
    it("is planned, goes by waves, and is undone; what can't be updated is named", async () => {
      const ops = ["--database", database().postgres.url("ops")];
      const releases = { "10.0": qemu["10.0"], "11.1": qemu["11.1"] };
      const [a, b] = [makeHost(database(), "a", releases), makeHost(database(), "b", releases)];
      const vms = [await a.vm("one", qemu["10.0"]), await b.vm("two", qemu["10.0"])];
      await a.vm("plain", qemu["10.0"], "plain");
      const agents = [a.agent(), b.agent()];
      const coordinator = startFleet(["coordinator", ...ops]);
      for (const each of [...agents, coordinator]) {
        await each.until("that it serves", ({ text }) => /^serves/.test(String(text)));
      }

      const plan = await fleet("plan", ...ops, "--release", "11.1", "--id", "up", "--host", "a", "b");
      expect(plan, plan.text).toMatchObject({ status: 1, json: { waves: [1, 1], refused: 1, silent: [] } });
      expect(plan.json?.["vms"]).toContainEqual(
        expect.objectContaining({ host: "a", vm: "plain", state: "refused", code: "aux-ram-share-off" }),
      );
      expect((await fleet("start", ...ops, "up")).status).toBe(0);
      const status = await fleet("status", ...ops, "up", "--watch");
      expect(status.json, JSON.stringify(status)).toMatchObject({
        state: "finished",
        counts: { updated: 2, failed: 0 },
      });
      const { rows } = await database().owner.query(
        "select host, before->>'version' as old, after->>'version' as new, downtime_ms from cprkit_fleet.rollout_vm where state = 'updated' order by host",
      );
      expect(rows).toMatchObject([
        { host: "a", old: expect.stringMatching(/^10\.0\./), new: expect.stringMatching(/^11\.1\./) },
        { host: "b", old: expect.stringMatching(/^10\.0\./), new: expect.stringMatching(/^11\.1\./) },
      ]);
      for (const vm of vms) await expectRuns(vm, qemu["11.1"]);

      const undo = await fleet("undo", ...ops, "up", "--id", "down", "--start", "--host", "a", "b");
      expect(undo, undo.text).toMatchObject({ status: 0, json: { started: true } });
      const after = await fleet("status", ...ops, "down", "--watch");
      expect(after.json, JSON.stringify(after)).toMatchObject({ state: "finished", counts: { updated: 2, failed: 0 } });
      for (const vm of vms) await expectRuns(vm, qemu["10.0"]);
      // Once more: what it would take back is not what runs any more.
      const again = await fleet("undo", ...ops, "up", "--id", "again", "--start", "--host", "a", "b");
      expect(again.json, again.text).toMatchObject({ started: false, waves: [], skipped: 2 });
      expect(again.json?.["vms"]).toMatchObject([{ code: "changed-since" }, { code: "changed-since" }]);
      const { rows: list } = await database().owner.query(
        "select application_name, count(*)::int from pg_stat_activity where application_name like 'cprkit-fleet agent %' group by 1",
      );
      for (const { count } of list) expect(count).toBeLessThanOrEqual(2);
    });

    it("waits at a gate, is paused, goes on, and leaves out a host that has died, which shows within 30 s", async () => {
      const ops = ["--database", database().postgres.url("ops")];
      const releases = { "10.0": qemu["10.0"], "11.1": qemu["11.1"] };
      const [a, b] = [makeHost(database(), "a", releases), makeHost(database(), "b", releases)];
      const [stays, goes] = [await a.vm("stays", qemu["10.0"]), await b.vm("goes", qemu["10.0"])];
      const [dies, lives] = [a.agent(), b.agent()];
      const coordinator = startFleet(["coordinator", ...ops]);
      await serves(dies, lives, coordinator);
      const policy = join(database().dir, "policy.yaml");
      writeFileSync(policy, "waves: []\ngates: [1]\nonDeadHost: go-on\n");
      const plan = await fleet(
        ...["plan", ...ops, "--release", "11.1", "--id", "gate", "--host", "a", "b", "--policy", policy],
      );
      expect(plan.json?.["waves"], plan.text).toEqual([2]);
      await dies.end("SIGKILL");
      const isAlive = async () => {
        const { json } = await fleet("host", "list", ...ops);
        const hosts = (json?.["hosts"] ?? []) as readonly { readonly name: string; readonly alive: boolean }[];
        return hosts.find(({ name }) => name === "a")?.alive;
      };
      // By the database's clock; what this machine takes to ask is on top of it.
      expect(deadAfterMs).toBeLessThan(30_000);
      await expect.poll(isAlive, { timeout: 90_000, interval: 500 }).toBe(false);
      expect((await fleet("start", ...ops, "gate")).status).toBe(0);
      const state = async () => (await fleet("status", ...ops, "gate")).json;
      await expect.poll(state, { timeout: 30_000 }).toMatchObject({ state: "paused", dead: ["a"] });
      expect((await fleet("resume", ...ops, "gate")).status).toBe(0);
      const end = await fleet("status", ...ops, "gate", "--watch");
      expect(end.json, end.text).toMatchObject({ state: "finished", counts: { updated: 1, skipped: 1 } });
      await expectRuns(stays, qemu["10.0"]);
      await expectRuns(goes, qemu["11.1"]);
      expect((await fleet("pause", ...ops, "gate")).status).toBe(4);
      expect((await fleet("abort", ...ops, "gate")).text).toContain("fleet undo gate");
    }, 180_000);
  });
});
