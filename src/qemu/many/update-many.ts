// Updates several VMs from one process: so many side by side, but never two guests in the switch at once, for each would
// prolong the other's pause; and a new QEMU binary is asked once for all of them.

import { availableParallelism } from "node:os";
import { CprkitError } from "../../vmstate/error.ts";
import { ensureUpdated } from "../ensure/ensure.ts";
import type { UpdateOptions, UpdatePlan, UpdateReport } from "../update/options.ts";
import { asCprkitError } from "../update/run.ts";
import type { UpdateStep } from "../update/steps.ts";
import { updateVm } from "../update/update.ts";
import type { VmTarget } from "../vm/open.ts";
import { makeTurns, type Turns } from "./turns.ts";

/** Options of {@link updateMany}: those of each update, which all VMs share. */
export interface UpdateManyOptions
  extends Omit<UpdateOptions, "command" | "key" | "onStep" | "onPlan" | "onCopy" | "onWait" | "sharing"> {
  /** How many updates may be under way at the same time. Default: as many as there are cores. */
  readonly atOnce?: number | undefined;
  /**
   * Each VM as {@link ensureUpdated} does it: one that runs in the new QEMU already is left alone, and an update that was cut
   * off is finished first. Default: each is updated.
   */
  readonly ensure?: boolean | undefined;
  /** Told of everything that happens, in order. What it throws ends nothing. */
  readonly onEvent?: ((event: UpdateManyEvent) => void) | undefined;
}

/** What happens to one of the VMs. */
export type UpdateManyEvent = { readonly vm: VmTarget } & (
  | { readonly event: "begun" }
  | { readonly event: "planned"; readonly plan: UpdatePlan }
  | { readonly event: "step"; readonly step: UpdateStep }
  /** Such as "waiting for the mirror job j0", or for the guests of other VMs that are in the switch. */
  | { readonly event: "waiting"; readonly text: string }
  | ({ readonly event: "ended" } & UpdateOutcome)
);

/** What became of one VM. */
export type UpdateOutcome =
  | { readonly outcome: "updated"; readonly report: UpdateReport }
  /** With `ensure`: it ran in the new QEMU already. */
  | { readonly outcome: "up-to-date"; readonly pid: number | undefined }
  /** Refused, rolled back or lost: the error says which, and where the guest is. */
  | { readonly outcome: "failed"; readonly error: CprkitError }
  /** The signal came before its turn: nothing was done. */
  | { readonly outcome: "not-begun" };

/**
 * Updates VMs as {@link updateVm} does, each with a journal, a rollback and an outcome of its own: one that fails does not
 * hinder the others. The signal rolls back what can be rolled back and begins no other.
 *
 * With mode copy the guest runs on while its RAM is copied; only one VM at a time is in that, and its short pause at the
 * end may fall together with another VM's.
 *
 * @returns the outcomes, in the order of `targets`; never rejects because of a VM
 */
export async function updateMany(
  targets: readonly VmTarget[],
  options: UpdateManyOptions = {},
): Promise<UpdateOutcome[]> {
  const { atOnce = availableParallelism(), onEvent, ensure = false, ...shared } = options;
  const sharing = {};
  const turns = makeTurns();
  const tell = (event: UpdateManyEvent) => {
    try {
      onEvent?.(event);
    } catch {
      // It only looks on.
    }
  };
  const outcomes: UpdateOutcome[] = targets.map(() => ({ outcome: "not-begun" }));
  let next = 0;
  const work = async () => {
    for (let at = next++; at < targets.length; at = next++) {
      const vm = targets[at] as VmTarget;
      if (options.signal?.aborted !== true) {
        tell({ vm, event: "begun" });
        outcomes[at] = await updateOne(vm, { ...shared, sharing }, ensure, turns, tell);
      }
      tell({ vm, event: "ended", ...(outcomes[at] as UpdateOutcome) });
    }
  };
  await Promise.all(Array.from({ length: Math.min(Math.max(1, atOnce), targets.length) }, work));
  return outcomes;
}

async function updateOne(
  vm: VmTarget,
  shared: UpdateOptions,
  ensure: boolean,
  turns: Turns,
  tell: (event: UpdateManyEvent) => void,
): Promise<UpdateOutcome> {
  const watched = {
    onPlan: (plan: UpdatePlan) => tell({ vm, event: "planned", plan }),
    onWait: (text: string) => tell({ vm, event: "waiting", text }),
    onStep: (step: UpdateStep) => tell({ vm, event: "step", step }),
  };
  try {
    return await turns.take(watched, async (told) => {
      const options: UpdateOptions = { ...shared, ...told };
      if (!ensure) return { outcome: "updated", report: await updateVm(vm, options) };
      const { result, report, text, error, pid } = await ensureUpdated(vm, options);
      if (report !== undefined) return { outcome: "updated", report };
      if (result === "nothing-to-do") return { outcome: "up-to-date", pid };
      return { outcome: "failed", error: new CprkitError(error?.code ?? "ERR_UPDATE_FAILED", text) };
    });
  } catch (error) {
    return { outcome: "failed", error: asCprkitError(error) };
  }
}
