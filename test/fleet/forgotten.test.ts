// What the ledger says is in hand while no job of the host is at it: looked at, and said, once nobody can be about to begin it.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { AgentContext, AgentEvent } from "../../fleet/src/agent/act.ts";
import { sayForgotten } from "../../fleet/src/agent/settle.ts";
import { openState } from "../../fleet/src/agent/state.ts";
import { enqueueVms } from "../../fleet/src/engine.ts";
import { claim, heartbeat } from "../../fleet/src/ledger/host.ts";
import { readVmDetails, setState } from "../../fleet/src/ledger/operator.ts";
import { makeTurns } from "../../src/qemu/many/turns.ts";
import { describeFleet, makeRollout } from "./fleet-support.ts";

describeFleet("a VM that is in hand of nobody", (fleet) => {
  it("is said to be gone when nothing is there; one that a job is at, or is about to be, is left alone", async () => {
    const [ops, pool] = [fleet().as("ops"), fleet().as("host-a")];
    const names = ["gone", "worked-on", "just-begun"];
    await makeRollout(
      ops,
      "r-left",
      names.map((vm) => `a/${vm}`),
    );
    await enqueueVms(
      ops,
      "r-left",
      names.map((vm) => ({ host: "a", vm })),
    );
    const fresh = { epoch: 0, seen: undefined };
    for (const vm of names) await claim(pool, { rollout: "r-left", vm }, fresh);
    // Nobody comes for them: the rollout is over by the time that the agent is there again.
    await setState(ops, "r-left", "aborted", { from: ["running"] });
    const home = mkdtempSync(join(tmpdir(), "cprkit-left-"));
    mkdirSync(join(home, "vms"));
    const releases = join(home, "releases.yaml");
    writeFileSync(releases, "releases: {}", { mode: 0o600 });
    const state = openState(join(home, "state"));
    try {
      const said: AgentEvent[] = [];
      const context: AgentContext = {
        host: { name: "a", stateDir: join(home, "state"), releases, qmp: join(home, "vms/{vm}/qmp.sock") },
        ...{
          pool,
          state,
          busy: new Set(["r-left/worked-on"]),
          turns: makeTurns(),
          onEvent: (event) => said.push(event),
        },
      };
      const { inHand } = await heartbeat(pool, fresh, {});
      expect(inHand).toBe(3);
      // The third one's epoch is beyond what this agent has written down.
      state.remember({ epoch: 2, seen: undefined });
      const idle = await sayForgotten(context, new Set());
      expect([...idle]).toEqual(["r-left/gone/1"]);
      expect(await readVmDetails(ops, "r-left")).toMatchObject(names.map(() => ({ state: "claimed" })));
      await sayForgotten(context, idle);
      const rows = await readVmDetails(ops, "r-left");
      expect(rows.map(({ vm, state: its, code }) => [vm, its, code])).toEqual([
        ["gone", "failed", "not-there"],
        ["just-begun", "claimed", null],
        ["worked-on", "claimed", null],
      ]);
      expect(said).toMatchObject([
        { event: "note", text: expect.stringMatching(/nobody was at it any more, it was failed/) },
      ]);
    } finally {
      state.close();
      rmSync(home, { recursive: true });
    }
  });
});
