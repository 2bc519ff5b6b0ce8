// What an agent says to the ledger and hears from it. Each is a function of migrations/: the ledger knows the host by its
// role, so none of them is told which host it is.

import type { Db } from "./pool.ts";

/** What a host remembers of the ledger; what the ledger does not know any more shows that it was restored. */
export interface Memory {
  /** The highest epoch that it was given. */
  readonly epoch: number;
  /** The last line of the audit trail that it saw. */
  readonly seen: { readonly id: string; readonly token: string } | undefined;
}

/** The program that runs a VM. */
export interface Running {
  /** The release of the host's list; undefined if none has this program. */
  readonly release: string | undefined;
  readonly version: string;
  readonly program: string;
  readonly pid: number;
}

/** What became of a VM, or why nothing did. `planned`: it was taken back, and may be tried again. */
export interface Result {
  readonly state: "planned" | "updated" | "failed" | "lost" | "skipped";
  readonly code?: string | undefined;
  readonly why?: string | undefined;
  readonly before?: Running | undefined;
  readonly after?: Running | undefined;
  readonly downtimeMs?: number | undefined;
  readonly report?: unknown;
}

/** An attempt that the ledger gave to this host. */
export interface Attempt {
  readonly rollout: string;
  readonly vm: string;
  readonly epoch: number;
  readonly release: string;
  /** The span of the wave that it belongs to: W3C's traceparent, as the ledger has it. */
  readonly trace?: string | undefined;
  /** So long may the guest stand still, as the policy says. */
  readonly maxPauseMs?: number | undefined;
}

/**
 * Says that the host lives.
 *
 * @returns what it shall remember, whether the ledger knows what it remembers already, and how many VMs it has in hand, as
 *   the ledger has it
 */
export async function heartbeat(
  db: Db,
  memory: Memory,
  versions: Readonly<Record<string, unknown>>,
): Promise<{ readonly isKnown: boolean; readonly memory: Memory; readonly inHand: number }> {
  const { rows } = await db.query<{
    is_known: boolean;
    epoch: string;
    seen: string | null;
    token: string | null;
    in_hand: string;
  }>("select * from cprkit_fleet.heartbeat($1, $2, $3, $4)", [
    ...[memory.epoch, memory.seen?.id, memory.seen?.token],
    JSON.stringify(versions),
  ]);
  const [row] = rows;
  const inHand = Number(row?.in_hand ?? 0);
  if (row?.is_known !== true) return { isKnown: false, memory, inHand };
  const seen = row.seen === null || row.token === null ? memory.seen : { id: row.seen, token: row.token };
  return { isKnown: true, memory: { epoch: Math.max(memory.epoch, Number(row.epoch)), seen }, inHand };
}

/** The attempts that the ledger says this host has in hand: row-level security shows it no others. */
export async function readInHand(db: Db): Promise<Attempt[]> {
  const { rows } = await db.query<{ rollout: string; vm: string; epoch: string; release: string }>(
    "select rollout, vm, epoch, release from cprkit_fleet.rollout_vm where state in ('claimed', 'switching')",
  );
  return rows.map((row) => ({ ...row, epoch: Number(row.epoch) }));
}

/** Whether and why a VM can't take part, or that it can. */
export interface Offer {
  readonly vm: string;
  readonly release: string;
  readonly before: Running | undefined;
  readonly state: "planned" | "refused" | "skipped";
  readonly code?: string | undefined;
  readonly why?: string | undefined;
}

export async function offer(db: Db, rollout: string, { vm, release, before, state, code, why }: Offer): Promise<void> {
  await db.query("select cprkit_fleet.offer($1, $2, $3, $4, $5, $6, $7)", [
    ...[rollout, vm, release, before === undefined ? null : JSON.stringify(before)],
    ...[state, code, why],
  ]);
}

/** Takes a VM in hand. @returns the attempt, or why there is none */
export async function claim(
  db: Db,
  { rollout, vm }: { readonly rollout: string; readonly vm: string },
  { epoch, seen }: Memory,
): Promise<Attempt | { readonly why: string }> {
  const { rows } = await db.query<{
    why: string | null;
    epoch: string;
    release: string;
    trace: string | null;
    max_pause_ms: number | null;
  }>("select * from cprkit_fleet.claim($1, $2, $3, $4, $5)", [rollout, vm, epoch, seen?.id, seen?.token]);
  const [row] = rows;
  if (row === undefined || row.why !== null) return { why: row?.why ?? "the ledger said nothing" };
  const { trace, max_pause_ms: maxPauseMs } = row;
  return {
    ...{ rollout, vm, epoch: Number(row.epoch), release: row.release },
    ...(trace === null ? {} : { trace }),
    ...(maxPauseMs === null ? {} : { maxPauseMs }),
  };
}

/** The last question before the switch. @returns why it must not be, or undefined */
export async function fence(db: Db, { rollout, vm, epoch }: Attempt): Promise<string | undefined> {
  const { rows } = await db.query<{ fence: string | null }>("select cprkit_fleet.fence($1, $2, $3)", [
    rollout,
    vm,
    epoch,
  ]);
  return rows[0] === undefined ? "the ledger said nothing" : (rows[0].fence ?? undefined);
}

/** Says what became of an attempt. @returns false when the ledger does not know the attempt */
export async function finish(db: Db, { rollout, vm, epoch }: Attempt, result: Result): Promise<boolean> {
  const { state, code, why, before, after, downtimeMs, report } = result;
  const json = (value: unknown) => (value === undefined ? null : JSON.stringify(value));
  const { rows } = await db.query<{ finish: boolean }>(
    "select cprkit_fleet.finish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    [rollout, vm, epoch, state, code, why, json(before), json(after), downtimeMs, json(report)],
  );
  return rows[0]?.finish === true;
}
