// A VM shall run a release: cprkit's `ensure`, and which releases run before and after it.

import { statSync } from "node:fs";
import { ensureUpdated, type Turns, type UpdateReport, type UpdateStep, vmStatus } from "cprkit/qemu";
import { FleetError } from "../error.ts";
import type { Running } from "../ledger/host.ts";
import { type Release, releaseOf } from "./releases.ts";

export interface EnsureOptions {
  readonly qmp: string;
  readonly release: Release;
  readonly releases: readonly Release[];
  /** Where cprkit keeps its journals. */
  readonly stateDir: string;
  readonly signal?: AbortSignal | undefined;
  /** Of all VMs of this host. */
  readonly turns: Turns;
  /** The longest pause that mode copy may plan for; the other modes have no such knob. */
  readonly maxPauseMs?: number | undefined;
  /** Told what runs, before anything is done. */
  readonly onFound?: ((running: Running) => void) | undefined;
  /** Called, and waited for, at each step; what it throws before the new QEMU has the guest takes the update back. */
  readonly onStep?: ((step: UpdateStep) => void | Promise<void>) | undefined;
}

export interface Ensured {
  readonly result: "updated" | "nothing-to-do" | "failed" | "lost";
  readonly code: string | undefined;
  readonly text: string;
  readonly after: Running | undefined;
  readonly report: UpdateReport | undefined;
}

/** Another process works at the VM: so long is it waited for. */
const waitMs = 120_000;

/**
 * Waits for whoever updates the VM, finishes what was cut off, compares what runs with the release, and updates.
 *
 * @throws CprkitError as ensureUpdated
 */
export async function ensure(options: EnsureOptions): Promise<Ensured> {
  const { qmp, stateDir, signal, turns, onFound, onStep } = options;
  const { qemu, allow, mode } = options.release;
  const before = await runningOf(options).catch(() => undefined);
  if (before !== undefined) onFound?.(before);
  const maxDowntimeMs = downtimeOf(options.maxPauseMs);
  const { result, text, error, report } = await turns.take({ onStep }, (watched) =>
    ensureUpdated({ qmp }, { qemu, allow, mode, stateDir, signal, waitMs, maxDowntimeMs, ...watched }),
  );
  return {
    result: result === "refused" || result === "try-again" ? "failed" : result,
    code: error === undefined ? undefined : codeIn(error),
    text: error?.message ?? text,
    after: await runningOf(options).catch(() => undefined),
    report,
  };
}

/** QEMU's downtime-limit is in whole milliseconds up to 2,000,000 (qapi/migration.json). */
function downtimeOf(maxPauseMs: number | undefined): number | undefined {
  return maxPauseMs === undefined ? undefined : Math.max(1, Math.min(2_000_000, Math.floor(maxPauseMs)));
}

/** The code of the first finding that was in the way, or of the error. */
export function codeIn({ code, message }: { readonly code: string; readonly message: string }): string {
  const [, finding] = /\[([a-z][a-z-]+)\]/.exec(message) ?? [];
  return finding ?? code;
}

/** What runs the VM. @throws CprkitError as vmStatus, FleetError "refused" when nobody has the guest */
export async function runningOf({
  qmp,
  releases,
  stateDir,
}: Pick<EnsureOptions, "qmp" | "releases" | "stateDir">): Promise<Running> {
  const { pid, text, source, destination } = await vmStatus({ qmp }, { stateDir });
  if (pid === undefined) throw new FleetError("refused", text);
  const program = `/proc/${pid}/exe`;
  const version = [source, destination].find((each) => each?.pid === pid)?.version ?? "unknown";
  const stat = statSync(program, { bigint: true });
  return { pid, version, program: `${stat.dev}:${stat.ino}`, release: releaseOf(releases, stat) };
}
