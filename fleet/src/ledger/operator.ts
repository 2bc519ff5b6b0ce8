// What an operator and the coordinator read in the ledger and write there: rollouts, and the VMs that nobody has in hand.

import { z } from "zod";
import { FleetError } from "../error.ts";
import { type Policy, policySchema } from "../waves/policy.ts";
import type { Db } from "./pool.ts";

const rolloutStates = ["planning", "planned", "running", "paused", "halted", "aborted", "finished"] as const;
export type RolloutState = (typeof rolloutStates)[number];

const rolloutSchema = z.object({
  id: z.string(),
  kind: z.enum(["update", "undo"]),
  undoes: z.string().nullable(),
  release: z.string(),
  policy: policySchema,
  state: z.enum(rolloutStates),
  reason: z.string().nullable(),
  gate: z.number(),
  trace: z.string().nullable(),
  who: z.string(),
  created_at: z.date(),
  started_at: z.date().nullable(),
  ended_at: z.date().nullable(),
});

export type Rollout = z.infer<typeof rolloutSchema>;

type VmState = "planned" | "queued" | "claimed" | "switching" | "updated" | "failed" | "lost" | "refused" | "skipped";

/** What the waves need to know of a VM; thousands of them are read each second. */
export interface VmRow {
  readonly host: string;
  readonly vm: string;
  readonly wave: number | null;
  readonly state: VmState;
  readonly attempt: number;
  /** So often a host took it in hand and gave it back. */
  readonly taken_back: number;
  /** False of an update whose process did not live to tell how long the guest stood still. */
  readonly is_measured: boolean;
  readonly downtime_ms: number | null;
  readonly ended_at: Date | null;
  /** It failed, and somebody let the rollout go on. */
  readonly accepted: boolean;
}

/** The rest, for people. */
export interface VmDetails extends VmRow {
  readonly release: string;
  readonly code: string | null;
  readonly why: string | null;
  readonly before: { readonly release?: string; readonly version?: string } | null;
  readonly after: { readonly release?: string; readonly version?: string } | null;
}

export interface HostRow {
  readonly name: string;
  readonly role: string;
  readonly rack: string;
  readonly last_seen: Date | null;
  readonly in_order: boolean;
  readonly versions: Readonly<Record<string, unknown>>;
}

/** A rollout. @throws FleetError "usage" when there is none of this id */
export async function readRollout(db: Db, id: string): Promise<Rollout> {
  const { rows } = await db.query("select * from cprkit_fleet.rollout where id = $1", [id]);
  if (rows.length === 0) throw new FleetError("usage", `there is no rollout ${id}; \`cprkit fleet status\` lists them`);
  return rolloutSchema.parse(rows[0]);
}

/** All rollouts, the newest first. */
export async function listRollouts(db: Db): Promise<Rollout[]> {
  const { rows } = await db.query("select * from cprkit_fleet.rollout order by created_at desc, id");
  return rows.map((row) => rolloutSchema.parse(row));
}

export const readVmRows = (db: Db, rollout: string) => readRows<VmRow>(db, rollout, "");
export const readVmDetails = (db: Db, rollout: string) =>
  readRows<VmDetails>(db, rollout, ", release, code, why, before, after");

async function readRows<T extends VmRow>(db: Db, rollout: string, more: string): Promise<T[]> {
  const { rows } = await db.query<T>(
    `select host, vm, wave, state, attempt, taken_back, report is not null as is_measured, downtime_ms, ended_at, accepted${more}
      from cprkit_fleet.rollout_vm where rollout = $1 order by wave, host, vm`,
    [rollout],
  );
  return rows;
}

/** The fleet's hosts, and the time by the database's clock, by which their heartbeats are stamped. */
export async function readHosts(db: Db): Promise<{ readonly hosts: HostRow[]; readonly now: Date }> {
  const { rows } = await db.query<HostRow & { now: Date }>(
    "select name, role, rack, last_seen, in_order, versions, clock_timestamp() as now from cprkit_fleet.host order by name",
  );
  return { hosts: rows, now: rows[0]?.now ?? new Date() };
}

/** Begins the planning of a rollout. @throws FleetError "usage" when there is one of this id */
export async function createRollout(
  db: Db,
  { id, kind, undoes, release, policy }: Pick<Rollout, "id" | "kind" | "undoes" | "release"> & { policy: Policy },
): Promise<void> {
  const { rowCount } = await db.query(
    `insert into cprkit_fleet.rollout (id, kind, undoes, release, policy) values ($1, $2, $3, $4, $5)
      on conflict (id) do nothing`,
    [id, kind, undoes, release, JSON.stringify(policy)],
  );
  if (rowCount !== 1) throw new FleetError("usage", `there is a rollout ${id} already: choose another --id`);
}

/** The rollout's first span, for those who go on with it. */
export async function keepTrace(db: Db, id: string, trace: string): Promise<void> {
  await db.query("update cprkit_fleet.rollout set trace = $2 where id = $1 and trace is null", [id, trace]);
}

/**
 * Brings a rollout from one of `from` into the state `to`.
 *
 * @throws FleetError "refused" when it is in another state
 */
export async function setState(
  db: Db,
  id: string,
  to: RolloutState,
  { from, reason, gate }: { readonly from: readonly RolloutState[]; readonly reason?: string; readonly gate?: number },
): Promise<void> {
  const { rowCount } = await db.query(
    `update cprkit_fleet.rollout set state = $2, reason = $3, gate = greatest(gate, $4),
        started_at = case when $2 = 'running' then coalesce(started_at, now()) else started_at end,
        ended_at = case when $2 in ('aborted', 'finished') then now() end
      where id = $1 and state = any($5)`,
    [id, to, reason, gate ?? 0, from],
  );
  if (rowCount === 1) return;
  const { state } = await readRollout(db, id);
  throw new FleetError("refused", `rollout ${id} is ${state}: it can't be made "${to}" from there`);
}

/** What has failed so far, or stood still for longer than `maxPauseMs` or for nobody knows how long, counts no more. */
export async function acceptFailures(db: Db, rollout: string, maxPauseMs: number | undefined): Promise<void> {
  await db.query(
    `update cprkit_fleet.rollout_vm set accepted = true
      where rollout = $1 and (state in ('failed', 'lost') or state = 'updated' and (downtime_ms > $2 or $2 is not null and report is null))`,
    [rollout, maxPauseMs ?? null],
  );
}

/** VMs that nobody has in hand are left as they are. @returns how many */
export async function skipOpen(db: Db, rollout: string, code: string, hosts?: readonly string[]): Promise<number> {
  const { rowCount } = await db.query(
    `update cprkit_fleet.rollout_vm set state = 'skipped', code = $2, ended_at = now()
      where rollout = $1 and state in ('planned', 'queued') and ($3::text[] is null or host = any($3))`,
    [rollout, code, hosts],
  );
  return rowCount ?? 0;
}

/**
 * Lets a host whose memory is ahead of a restored ledger take part again: the epoch goes beyond all that it has seen, and the
 * line of the audit trail that it saw last, which this ledger does not have, counts as known.
 *
 * @throws FleetError "refused" when the host is in order
 */
export async function adopt(db: Db, host: string): Promise<void> {
  const { rowCount } = await db.query(
    `update cprkit_fleet.host set epoch = greatest(epoch, local_epoch) + 1, adopted_token = local_token, in_order = true
      where name = $1 and not in_order`,
    [host],
  );
  if (rowCount !== 1) throw new FleetError("refused", `host ${host} is in order, or there is none: nothing to adopt`);
}
