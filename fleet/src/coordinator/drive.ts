// Drives one rollout: looks at the ledger once a second and does what the waves say. All that it knows is in the ledger,
// so whoever comes after it goes on where it was.

import { setTimeout as sleep } from "node:timers/promises";
import { enqueueVms } from "../engine.ts";
import { messageOf } from "../error.ts";
import { readHosts, readRollout, readVmRows, setState, skipOpen } from "../ledger/operator.ts";
import type { Pool } from "../ledger/pool.ts";
import { inSpan } from "../watch/spans.ts";
import { type Decision, decide, isDead } from "../waves/next.ts";

export interface DriveOptions {
  readonly pool: Pool;
  readonly signal: AbortSignal;
  readonly onDecision?: ((rollout: string, decision: Decision) => void) | undefined;
  readonly onNote?: ((text: string) => void) | undefined;
  readonly lookMs?: number | undefined;
}

/** Until the rollout is over, or nothing can go on without a person. @returns its state */
export async function drive(options: DriveOptions, rollout: string): Promise<{ readonly state: string }> {
  const { signal, onNote, lookMs = 1_000 } = options;
  while (!signal.aborted) {
    try {
      const state = await look(options, rollout);
      if (state !== "running" && state !== "paused" && state !== "halted") return { state };
    } catch (error) {
      onNote?.(`${rollout}: ${messageOf(error)}`);
    }
    await sleep(lookMs, undefined, { signal }).catch(() => undefined);
  }
  // Neither a result nor an error: the engine counts it as cut off, and begins it again.
  return new Promise(() => {});
}

function look(options: DriveOptions, id: string): Promise<string> {
  return inSpan("look", { rollout: id }, () => lookAt(options, id));
}

async function lookAt({ pool, onDecision }: DriveOptions, id: string): Promise<string> {
  const rollout = await readRollout(pool, id);
  if (rollout.state === "aborted") await skipOpen(pool, id, "aborted");
  if (rollout.state !== "running") return rollout.state;
  const [vms, { hosts, now }] = [await readVmRows(pool, id), await readHosts(pool)];
  const decision = decide({ rollout, vms, now, hosts: new Map(hosts.map((host) => [host.name, host])) });
  onDecision?.(id, decision);
  const { enqueue, giveUp, become } = decision;
  if (giveUp.length > 0) await fail(pool, id, giveUp);
  if (enqueue.length > 0) await enqueueVms(pool, id, enqueue);
  if (become === undefined) return rollout.state;
  await setState(pool, id, become.state, { from: ["running"], reason: become.reason });
  if (become.state === "finished") {
    const dead = hosts.filter((host) => isDead(host, now)).map(({ name }) => name);
    await skipOpen(pool, id, "host-dead", dead);
  }
  return become.state;
}

async function fail(pool: Pool, rollout: string, vms: Decision["giveUp"]): Promise<void> {
  await pool.query(
    `update cprkit_fleet.rollout_vm v set state = 'failed', code = 'taken-back', ended_at = now()
      from unnest($2::text[], $3::text[]) as gone (host, vm)
      where v.rollout = $1 and v.host = gone.host and v.vm = gone.vm and v.state = 'planned'`,
    [rollout, vms.map(({ host }) => host), vms.map(({ vm }) => vm)],
  );
}
