// A VM shall run a release: looks, and does what is missing. Any number of calls end in the same state.

import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { resumeUpdate, type UpdateReport, type UpdateStep, updateVm, vmStatus } from "cprkit/qemu";
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
  /** Told what runs, before anything is done. */
  readonly onFound?: ((running: Running) => void) | undefined;
  /** Called, and waited for, at each step; what it throws before the new QEMU has the guest takes the update back. */
  readonly onStep?: ((step: UpdateStep) => void | Promise<void>) | undefined;
}

export interface Ensured {
  readonly did: "nothing" | "updated" | "resumed";
  readonly before: Running;
  readonly after: Running;
  readonly report: UpdateReport | undefined;
}

/** Another process works at the VM: so long is it waited for. */
const holderMs = 120_000;

/**
 * Waits for whoever updates the VM, finishes what was cut off, compares what runs with the release, and updates.
 *
 * @throws CprkitError as updateVm, FleetError "refused" when another process holds the VM for too long
 */
export async function ensure(options: EnsureOptions): Promise<Ensured> {
  const { qmp, release, releases, stateDir, signal, onFound, onStep } = options;
  const target = { qmp };
  const end = performance.now() + holderMs;
  for (;;) {
    const { update } = await vmStatus(target, { stateDir });
    if (update?.outcome !== "unfinished") break;
    if (update.holder !== undefined) {
      if (performance.now() > end)
        throw new FleetError("refused", `process ${update.holder} updates ${qmp} for too long`);
      await sleep(200, undefined, { signal });
      continue;
    }
    const before = await runningOf(options);
    onFound?.(before);
    const { outcome, report } = await resumeUpdate(target, { stateDir, signal, onStep });
    if (outcome === "updated") return { did: "resumed", before, after: await runningOf(options), report };
  }
  const before = await runningOf(options);
  onFound?.(before);
  if (before.release === release.name) return { did: "nothing", before, after: before, report: undefined };
  const { qemu, allow, mode } = release;
  const report = await updateVm(target, { qemu, allow, mode, stateDir, signal, onStep });
  return { did: "updated", before, after: await runningOf({ qmp, releases, stateDir }), report };
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
