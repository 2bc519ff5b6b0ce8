// Drives one rollout: looks at the ledger once a second and does what the waves say. All that it knows is in the ledger,
// so whoever comes after it goes on where it was.

import { setTimeout as sleep } from "node:timers/promises";
import { enqueueVms, queueAnew } from "../engine.ts";
import { messageOf } from "../error.ts";
import { keepTrace, readHosts, readRollout, readVmRows, setState, skipOpen } from "../ledger/operator.ts";
import type { Pool } from "../ledger/pool.ts";
import { type RolloutSpans, rolloutSpans } from "../watch/rollout-spans.ts";
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
  const spans = await beginSpans(options, rollout);
  let said = "";
  try {
    while (!signal.aborted) {
      try {
        const state = await look(options, rollout, spans);
        if (state !== "running" && state !== "paused" && state !== "halted") return { state };
      } catch (error) {
        // Once, not with each look.
        if (messageOf(error) !== said) onNote?.(`${rollout}: ${messageOf(error)}`);
        said = messageOf(error);
      }
      await sleep(lookMs, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    spans?.end();
  }
  // Neither a result nor an error: the engine counts it as cut off, and begins it again.
  return new Promise(() => {});
}

/** Nothing but spans depends on it: what goes wrong here is left. */
async function beginSpans({ pool }: DriveOptions, id: string): Promise<RolloutSpans | undefined> {
  try {
    const spans = rolloutSpans(await readRollout(pool, id));
    if (spans.trace !== undefined) await keepTrace(pool, id, spans.trace);
    return spans;
  } catch {
    return undefined;
  }
}

async function look({ pool, onDecision }: DriveOptions, id: string, spans?: RolloutSpans): Promise<string> {
  const rollout = await readRollout(pool, id);
  if (rollout.state === "aborted") await skipOpen(pool, id, "aborted");
  if (rollout.state !== "running") return rollout.state;
  const before = await readVmRows(pool, id);
  const isQueued = before.some(({ state }) => state === "queued");
  const changed = isQueued && (await queueAnew(pool, id)) > 0;
  const [vms, { hosts, now }] = [changed ? await readVmRows(pool, id) : before, await readHosts(pool)];
  const decision = decide({ rollout, vms, now, hosts: new Map(hosts.map((host) => [host.name, host])) });
  spans?.look(rollout, vms);
  onDecision?.(id, decision);
  const { enqueue, giveUp, become } = decision;
  if (giveUp.length > 0) await fail(pool, id, giveUp);
  const waveOf = new Map(vms.map((vm) => [`${vm.host}/${vm.vm}`, vm.wave ?? 0]));
  const traced = enqueue.map((vm) => ({ ...vm, trace: spans?.wave(waveOf.get(`${vm.host}/${vm.vm}`) ?? 0) }));
  if (enqueue.length > 0) await enqueueVms(pool, id, traced);
  if (become === undefined) return rollout.state;
  await setState(pool, id, become.state, { from: ["running"], reason: become.reason });
  spans?.look(become, vms);
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
