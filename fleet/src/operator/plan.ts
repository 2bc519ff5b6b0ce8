// Plans a rollout: asks every host what it could update, and freezes the answers into waves.

import { setTimeout as sleep } from "node:timers/promises";
import { enqueue, jobs, queueOf } from "../engine.ts";
import { FleetError } from "../error.ts";
import { createRollout, readHosts, readRollout, readVmDetails, setState } from "../ledger/operator.ts";
import { inTransaction, type Pool } from "../ledger/pool.ts";
import { assignWaves } from "../waves/assign.ts";
import type { Policy } from "../waves/policy.ts";

export interface PlanRequest {
  readonly id: string;
  /** Of an update. */
  readonly release?: string | undefined;
  /** The rollout that an undo takes back. */
  readonly undoes?: string | undefined;
  readonly policy: Policy;
  /** Default: all of the fleet. */
  readonly hosts?: readonly string[] | undefined;
  /** How long answers are waited for. */
  readonly waitMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Planned {
  readonly id: string;
  /** VMs of each wave. */
  readonly waves: readonly number[];
  readonly refused: number;
  readonly skipped: number;
  /** Hosts without an answer: their VMs are not part of the rollout. */
  readonly silent: readonly string[];
}

/** @throws FleetError "usage" or "refused" when it can't be planned */
export async function planRollout(pool: Pool, request: PlanRequest): Promise<Planned> {
  const { id, undoes, policy, hosts: chosen, signal } = request;
  const release = undoes === undefined ? request.release : (await readUndoable(pool, undoes)).release;
  if (release === undefined) throw new FleetError("usage", "no release is named");
  const { hosts: known } = await readHosts(pool);
  const unknown = chosen?.find((name) => !known.some((host) => host.name === name));
  if (unknown !== undefined) throw new FleetError("usage", `there is no host ${unknown} in this fleet`);
  const hosts = chosen ?? known.map(({ name }) => name);
  await inTransaction(pool, async (db) => {
    await createRollout(db, {
      id,
      kind: undoes === undefined ? "update" : "undo",
      undoes: undoes ?? null,
      release,
      policy,
    });
    for (const host of hosts) await enqueue(db, queueOf(host), jobs.plan, planJob(id, host), [id]);
  });
  const end = performance.now() + request.waitMs;
  let silent = await withoutAnswer(pool, id, hosts);
  while (silent.length > 0 && performance.now() < end && signal?.aborted !== true) {
    await sleep(200, undefined, { signal }).catch(() => undefined);
    silent = await withoutAnswer(pool, id, hosts);
  }
  return { ...(await freeze(pool, id, policy)), silent };
}

const planJob = (rollout: string, host: string) => `${rollout}/plan/${host}`;

async function readUndoable(pool: Pool, id: string) {
  const rollout = await readRollout(pool, id);
  if (["halted", "aborted", "finished", "paused"].includes(rollout.state)) return rollout;
  throw new FleetError("refused", `rollout ${id} is ${rollout.state}: pause or abort it before it is undone`);
}

async function withoutAnswer(pool: Pool, id: string, hosts: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    "select workflow_uuid as id from dbos.workflow_status where workflow_uuid = any($1) and status = 'SUCCESS'",
    [hosts.map((host) => planJob(id, host))],
  );
  const answered = new Set(rows.map((row) => row.id));
  return hosts.filter((host) => !answered.has(planJob(id, host)));
}

/** From here on no answer is taken any more. */
async function freeze(pool: Pool, id: string, policy: Policy): Promise<Omit<Planned, "silent">> {
  return inTransaction(pool, async (db) => {
    await setState(db, id, "planned", { from: ["planning"] });
    const vms = await readVmDetails(db, id);
    const waves = assignWaves(
      vms.filter(({ state }) => state === "planned"),
      policy,
    );
    const placed = waves.flatMap((wave, at) => wave.map(({ host, vm }) => ({ host, vm, wave: at + 1 })));
    await db.query(
      `update cprkit_fleet.rollout_vm v set wave = place.wave
        from unnest($2::text[], $3::text[], $4::integer[]) as place (host, vm, wave)
        where v.rollout = $1 and v.host = place.host and v.vm = place.vm`,
      [id, placed.map(({ host }) => host), placed.map(({ vm }) => vm), placed.map(({ wave }) => wave)],
    );
    const count = (state: string) => vms.filter((vm) => vm.state === state).length;
    return { id, waves: waves.map((wave) => wave.length), refused: count("refused"), skipped: count("skipped") };
  });
}
