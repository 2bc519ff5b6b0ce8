// What QEMU itself says is in the way of a mode. It says so only for the mode that is set, so the mode is set for the
// length of one query.

import type { Qmp } from "../qmp/client.ts";
import type { QmpReturn } from "../qmp/schema.ts";
import type { CprModeName } from "../vm/binary.ts";

export interface BlockedQuestion {
  readonly mode: CprModeName;
  /** The modes that this QEMU knows. */
  readonly known: readonly CprModeName[];
  /** The mode that is set now. */
  readonly present: string | undefined;
  readonly migration: QmpReturn<"query-migrate">;
}

/**
 * QEMU's blockers for `mode`; undefined when it can't be asked: it does not know the mode, or a migration is under
 * way, whose parameters must stay (QEMU 10.0 migration/migration.c, fill_source_migration_info).
 *
 * The three commands are written at once and run in order, so that the old mode is set again even if cprkit is killed
 * after it has written them.
 *
 * @throws CprkitError as `Qmp.execute`
 */
export async function blockedReasons(qmp: Qmp, question: BlockedQuestion): Promise<readonly string[] | undefined> {
  const { mode, known, present = "normal", migration } = question;
  if (!known.includes(mode) || isUnderWay(migration.status)) return undefined;
  if (present === mode) return migration["blocked-reasons"] ?? [];
  const set = qmp.execute("migrate-set-parameters", { mode });
  const ask = qmp.execute("query-migrate");
  const restore = qmp.execute("migrate-set-parameters", { mode: present });
  const [, answer, restored] = await Promise.allSettled([set, ask, restore]);
  if (restored.status === "rejected") throw restored.reason;
  await set;
  if (answer.status === "rejected") throw answer.reason;
  return answer.value["blocked-reasons"] ?? [];
}

/** Unknown statuses are taken for a migration under way. */
export function isUnderWay(status: string | undefined): boolean {
  return status !== undefined && !["none", "completed", "failed", "cancelled"].includes(status);
}
