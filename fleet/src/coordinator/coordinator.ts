// The coordinator: serves the queue of rollouts. One at a time; a second one waits for nothing and ends.

import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../config.ts";
import { coordinatorQueue, jobs, serve } from "../engine.ts";
import { FleetError } from "../error.ts";
import { closePool, makePool } from "../ledger/pool.ts";
import { type DriveOptions, drive } from "./drive.ts";

/** A database that does not answer for so long counts as away: the next look asks again. */
const answerMs = 30_000;
/** So often it is looked whether the lock is still held. */
const holdMs = 5_000;
/** Held by the one coordinator; any number that nobody else takes. */
const lockKey = 0x6672_6b75;

/**
 * Runs until the signal. The rollouts of one that died are gone on with.
 *
 * @throws FleetError "refused" when another coordinator runs
 */
export async function runCoordinator(
  config: Config,
  { signal, onDecision, onNote, lookMs }: Omit<DriveOptions, "pool">,
): Promise<void> {
  const pool = makePool(config.database, 6, "cprkit-fleet coordinator", answerMs);
  const holder = await pool.connect();
  const gone = new AbortController();
  holder.on("error", () => gone.abort());
  try {
    const { rows } = await holder.query<{ mine: boolean }>("select pg_try_advisory_lock($1) as mine", [lockKey]);
    if (rows[0]?.mine !== true) throw new FleetError("refused", "another coordinator of this fleet runs");
    const over = AbortSignal.any([signal, gone.signal]);
    // Not shut down in good order: that would wait for the rollouts' end.
    await serve(config, pool, {
      ...{ id: "coordinator", queue: coordinatorQueue, pollMs: config.pollMs ?? 1_000, concurrency: 100 },
      work: { [jobs.rollout]: (rollout = "") => drive({ pool, signal: over, onDecision, onNote, lookMs }, rollout) },
    });
    onNote?.("serves rollouts");
    // A connection that only seems to be there is noticed by asking.
    while (!over.aborted) {
      await sleep(holdMs, undefined, { signal: over }).catch(() => undefined);
      if (!over.aborted) await holder.query("select 1").catch(() => gone.abort());
    }
  } finally {
    holder.release(true);
    await closePool(pool);
  }
  // Whoever started it starts it again.
  if (gone.signal.aborted)
    throw new FleetError("refused", "the connection to the database is lost, and the lock with it");
}
