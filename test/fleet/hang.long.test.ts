// A database that neither answers nor refuses: an update that has passed its switch does not wait for it, an agent ends when it
// is told to, a coordinator by itself. Before the switch: matrix.long.test.ts.

import { afterEach, expect, it } from "vitest";
import { enqueueVms } from "../../fleet/src/engine.ts";
import { readVmDetails } from "../../fleet/src/ledger/operator.ts";
import { endAll } from "../qemu/update-support.ts";
import { describeQemu } from "../support/qemu.ts";
import { endProcesses, expectRuns, makeHost, serves, startFleet } from "./fleet-processes.ts";
import { describeFleet, makeRollout } from "./fleet-support.ts";

afterEach(async () => {
  await endProcesses();
  await endAll();
});

describeQemu("a database that hangs", ["10.0", "11.1"], (qemu) => {
  const releases = { old: qemu["10.0"], new: qemu["11.1"] };

  describeFleet("and a fleet", (database) => {
    for (const step of ["switching", "stopped", "running"]) {
      it(`from the step "${step}" on: the guest goes on in the new QEMU, and the ledger hears it afterwards`, async () => {
        const [host, ops, id] = [makeHost(database(), "a", releases), database().as("ops"), `hangs-${step}`];
        const vm = await host.vm(id, qemu["10.0"]);
        await makeRollout(ops, id, [`a/${id}`]);
        await enqueueVms(ops, id, [{ host: "a", vm: id }]);
        const agent = host.child("hold", step);
        await agent.until("that it holds", ({ event }) => event === "holds");
        database().postgres.hang();
        try {
          agent.go();
          const ended = await agent.until("the end", ({ event }) => event === "ended");
          expect(ended).toMatchObject({ result: { state: "updated", after: { release: "new" } } });
          await expectRuns(vm, releases.new);
        } finally {
          database().postgres.goOn();
        }
        await expect.poll(async () => (await readVmDetails(ops, id))[0]?.state, { timeout: 60_000 }).toBe("updated");
      }, 180_000);
    }

    it("an agent ends when it is told to; a coordinator by itself, with code 4", async () => {
      const host = makeHost(database(), "b", releases);
      const agent = host.agent();
      const coordinator = startFleet(["coordinator", "--database", database().postgres.url("ops")]);
      await serves(agent, coordinator);
      database().postgres.hang();
      try {
        expect(await agent.end("SIGTERM")).toBe(0);
        expect(await coordinator.exited, coordinator.text()).toBe(4);
        expect(coordinator.text()).toContain("the connection to the database is lost");
      } finally {
        database().postgres.goOn();
      }
    }, 240_000);
  });
});
