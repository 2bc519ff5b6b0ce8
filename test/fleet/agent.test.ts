// An agent on real VMs: what a job can't do, who is in the way, and what the ledger says when something dies at the worst
// moment. Every case ends with the ledger's word compared with what runs.

import { afterEach, expect, it } from "vitest";
import { enqueue, enqueueVms, jobs, queueOf } from "../../fleet/src/engine.ts";
import { readRollout, readVmDetails } from "../../fleet/src/ledger/operator.ts";
import { abort } from "../../fleet/src/operator/steer.ts";
import { endAll, runStates } from "../qemu/update-support.ts";
import { describeQemu } from "../support/qemu.ts";
import { endProcesses, expectRuns, makeHost, serves } from "./fleet-processes.ts";
import { describeFleet, makeRollout } from "./fleet-support.ts";

afterEach(async () => {
  await endProcesses();
  await endAll();
});

describeQemu("an agent", ["10.0", "11.1"], (qemu) => {
  const releases = { old: qemu["10.0"], new: qemu["11.1"] };

  describeFleet("and its ledger", (fleet) => {
    it("a forged job starts nothing; a second agent of the host refuses", async () => {
      const host = makeHost(fleet(), "a", releases);
      const vm = await host.vm("forged", qemu["10.0"]);
      const agent = host.agent();
      await serves(agent);
      const second = host.agent();
      expect(await second.exited).toBe(4);
      expect(second.text()).toContain("another agent of this host runs");

      // As another host, which may write the engine's tables, would do it: nobody asked, in the ledger, for any of these.
      const other = fleet().as("host-b");
      await makeRollout(fleet().as("ops"), "r-true", ["b/forged"]);
      const forged = [
        ["r-none", "forged"],
        ["r-true", "forged"],
        ["r-true", "../../etc"],
      ] as const;
      for (const [at, words] of forged.entries())
        await enqueue(other, queueOf("a"), jobs.update, `forged/${at}`, words);
      await agent.until("why not", ({ text }) => /no such rollout/.test(String(text)));
      await agent.until("why not", ({ text }) => /has not asked this host/.test(String(text)));
      await expect
        .poll(async () => {
          const query = "select status from dbos.workflow_status where workflow_uuid = 'forged/2'";
          return (await fleet().owner.query(query)).rows[0]?.status;
        })
        .toBe("ERROR");
      expect(agent.events.filter(({ event }) => event === "begun")).toEqual([]);
      expect([...(await runStates(vm)).keys()]).toEqual([vm.pid]);
      await expectRuns(vm, releases.old);
    });

    it("an abort before the switch takes it back; the ledger says so", async () => {
      const [host, ops] = [makeHost(fleet(), "b", releases), fleet().as("ops")];
      const vm = await host.vm("stays", qemu["10.0"]);
      await makeRollout(ops, "r-stop", ["b/stays"]);
      const agent = host.child("hold", "destination-ready");
      await serves(agent);
      await enqueueVms(ops, "r-stop", [{ host: "b", vm: "stays" }]);
      await agent.until("that it holds", ({ event }) => event === "holds");
      const over = abort(ops, "r-stop", { waitMs: 60_000 });
      await expect.poll(async () => (await readRollout(ops, "r-stop")).state).toBe("aborted");
      expect((await readVmDetails(ops, "r-stop"))[0]?.state).toBe("claimed");
      agent.go();
      expect(await over).toEqual([]);
      expect(await readVmDetails(ops, "r-stop")).toMatchObject([{ state: "skipped", code: "aborted" }]);
      await expectRuns(vm, releases.old);
    });
  });
});
