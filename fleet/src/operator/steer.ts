// What an operator does to a rollout that is there: start, pause, resume, abort.

import { setTimeout as sleep } from "node:timers/promises";
import { coordinatorQueue, enqueue, jobs } from "../engine.ts";
import { FleetError } from "../error.ts";
import { acceptFailures, readRollout, readVmRows, setState, skipOpen } from "../ledger/operator.ts";
import { inTransaction, type Pool } from "../ledger/pool.ts";

/** Begins a planned rollout. @throws FleetError "refused" when it is not planned */
export async function start(pool: Pool, id: string): Promise<void> {
  await inTransaction(pool, async (db) => {
    await setState(db, id, "running", { from: ["planned"] });
    await enqueue(db, coordinatorQueue, jobs.rollout, `rollout/${id}`, [id]);
  });
}

/** Begins no VM any more; one that is under way is finished. @throws FleetError "refused" when it does not run */
export async function pause(pool: Pool, id: string, reason: string): Promise<void> {
  await setState(pool, id, "paused", { from: ["running"], reason });
}

/**
 * Goes on, through the gate of the next wave if it waits there. What has failed until a halt is accepted: else the next look
 * would halt it again.
 *
 * @throws FleetError "refused" when it is over or runs
 */
export async function resume(pool: Pool, id: string): Promise<void> {
  const waves = (await readVmRows(pool, id)).flatMap(({ state, wave }) =>
    state === "planned" && wave !== null ? [wave] : [],
  );
  const gate = waves.length === 0 ? 0 : Math.min(...waves);
  await inTransaction(pool, async (db) => {
    const { state, policy } = await readRollout(db, id);
    await setState(db, id, "running", { from: ["paused", "halted"], gate });
    if (state === "halted") await acceptFailures(db, id, policy.maxPauseMs);
  });
}

/**
 * Ends a rollout: VMs that have not reached their switch are taken back, those that have are finished. Waits until no
 * host has a VM of it in hand.
 *
 * @returns VMs that a host still has in hand after the wait; only when it comes back is it known what became of them
 */
export async function abort(
  pool: Pool,
  id: string,
  { waitMs, signal }: { readonly waitMs: number; readonly signal?: AbortSignal | undefined },
): Promise<string[]> {
  const { state } = await readRollout(pool, id);
  if (state === "finished")
    throw new FleetError("refused", `rollout ${id} is finished: \`cprkit fleet undo ${id}\` takes it back`);
  if (state !== "aborted") {
    await setState(pool, id, "aborted", { from: ["planning", "planned", "running", "paused", "halted"] });
  }
  const end = performance.now() + waitMs;
  for (;;) {
    await skipOpen(pool, id, "aborted");
    const inHand = (await readVmRows(pool, id)).filter((vm) => vm.state === "claimed" || vm.state === "switching");
    if (inHand.length === 0 || performance.now() > end || signal?.aborted === true) {
      return inHand.map(({ host, vm }) => `${host}/${vm}`);
    }
    await sleep(200, undefined, { signal }).catch(() => undefined);
  }
}
