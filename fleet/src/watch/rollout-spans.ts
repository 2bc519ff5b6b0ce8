// The spans of a rollout, in the process that drives it: one for the rollout, under it one for each wave, under which
// hosts put the spans of their VMs.

import type { Rollout, VmRow } from "../ledger/operator.ts";
import { beginSpan, failSpan, type Span, traceparentOf } from "./spans.ts";

export interface RolloutSpans {
  /** The rollout's own, for the ledger: whoever goes on with it puts its spans under this one. */
  readonly trace: string | undefined;
  /** That of the wave, begun when it is first asked for. */
  wave(wave: number): string | undefined;
  /** Ends the spans of waves of which every VM has had its turn. */
  look(rollout: Pick<Rollout, "state" | "reason">, vms: readonly VmRow[]): void;
  /** The rollout is over, or somebody else goes on with it. */
  end(): void;
}

/** @param parent the span of whoever drove this rollout before */
export function rolloutSpans({ id, release, trace }: Pick<Rollout, "id" | "release" | "trace">): RolloutSpans {
  const span = beginSpan("rollout", { rollout: id, release }, trace ?? undefined);
  const own = traceparentOf(span);
  const waves = new Map<number, Span>();
  return {
    trace: own,
    wave: (wave) => {
      const found = waves.get(wave) ?? beginSpan("wave", { rollout: id, wave }, own);
      waves.set(wave, found);
      return traceparentOf(found);
    },
    look: ({ state, reason }, vms) => {
      if (state === "halted" || state === "aborted") failSpan(span, reason ?? state);
      for (const [wave, its] of waves) {
        const ofWave = vms.filter((vm) => vm.wave === wave);
        const failed = ofWave.filter((vm) => vm.state === "failed" || vm.state === "lost");
        if (failed.length > 0) failSpan(its, `failed: ${failed.map(({ host, vm }) => `${host}/${vm}`).join(", ")}`);
        if (ofWave.some((vm) => vm.ended_at === null)) continue;
        its.end();
        waves.delete(wave);
      }
    },
    end: () => {
      for (const its of waves.values()) its.end();
      span.end();
    },
  };
}
