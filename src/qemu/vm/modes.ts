// Which CPR modes a QEMU knows, and what it says is in the way of each. It tells that only of the mode that is set, so
// each is set for the length of one query. (Its QMP schema has the modes, too, but takes some 20 MiB of the VM and 30 ms of its main loop.)

import { isCprkitError } from "../../vmstate/error.ts";
import type { Qmp } from "../qmp/client.ts";
import { type CprModeName, cprModes } from "./binary.ts";

/** The modes that a QEMU knows, with its own blockers for each. */
export type KnownModes = ReadonlyMap<CprModeName, readonly string[]>;

/**
 * Asks a QEMU. Not to be asked while a migration is under way, whose parameters must stay.
 *
 * All commands are written at once and run in order, so that the old mode is set again even if cprkit is killed after
 * it has written them.
 *
 * @param present the mode that is set now; undefined where nothing is to be set back
 * @throws CprkitError as `Qmp.execute`
 */
export async function askModes(qmp: Qmp, present: string | undefined): Promise<KnownModes> {
  const asked = cprModes.map((mode) => {
    const set = qmp.execute("migrate-set-parameters", { mode });
    const ask = qmp.execute("query-migrate");
    return { mode, answer: Promise.allSettled([set, ask]) };
  });
  const [restored] = await Promise.allSettled([
    present === undefined ? undefined : qmp.execute("migrate-set-parameters", { mode: present }),
  ]);
  const known = new Map<CprModeName, readonly string[]>();
  for (const { mode, answer } of asked) {
    const [set, state] = await answer;
    if (set.status === "rejected") {
      if (isCprkitError(set.reason, "ERR_QMP_COMMAND")) continue;
      throw set.reason;
    }
    if (state.status === "rejected") throw state.reason;
    known.set(mode, state.value["blocked-reasons"] ?? []);
  }
  if (restored.status === "rejected") throw restored.reason;
  return known;
}

/**
 * Whether a migration of this status is under way (QEMU 10.0 migration/migration.c). Unknown statuses are taken for one
 * that is.
 */
export function isUnderWay(status: string | undefined): boolean {
  return status !== undefined && !["none", "completed", "failed", "cancelled"].includes(status);
}
