// The table of faults: what is done to an update, and at which of its steps.

import { type UpdateStep, updateSteps } from "../../src/qemu/update/steps.ts";
import type { UpdateModeName } from "../../src/qemu/vm/binary.ts";

type FaultKind =
  | "kill-source"
  | "kill-destination"
  | "kill-cprkit, then abort"
  | "kill-cprkit, then resume"
  | "ctrl-c"
  | "disk-full"
  | "hang-destination"
  | "hang-source"
  | "state-disk-full"
  | "state-garbage"
  | "garbage";

/** One point: the fault, and the step at which it strikes. */
export interface FaultPoint {
  readonly mode: UpdateModeName;
  readonly kind: FaultKind;
  readonly step: UpdateStep;
}

/** A NEW binary that answers when it is asked what it can do, and fails in its own way when it is meant to take over. */
export interface BadBinary {
  readonly name: string;
  /** A shell script; $QEMU is the real one, $OTHER one of another version. */
  readonly script: string;
}

/** Where the guest must be in the end; "either": both are right, depending on a race that the fault starts. */
export type Expected = "source" | "destination" | "lost" | "either";

function stepsFrom(mode: UpdateModeName, first: UpdateStep, last: UpdateStep = "done"): readonly UpdateStep[] {
  const steps = updateSteps[mode];
  return steps.slice(steps.indexOf(first), steps.indexOf(last) + 1);
}

/** Whether a step is one of the mode, and comes before another. */
export function comesBefore(mode: UpdateModeName, step: UpdateStep, other: UpdateStep): boolean {
  const steps = updateSteps[mode];
  return steps.indexOf(step) < steps.indexOf(other);
}

/** All points of a mode. `long`: also those that differ little from others. */
export function faultPoints(mode: UpdateModeName, long: boolean): FaultPoint[] {
  const all = updateSteps[mode];
  const points = (kind: FaultKind, steps: readonly UpdateStep[]) => steps.map((step) => ({ mode, kind, step }));
  const written = stepsFrom(mode, "journalled");
  const pair = mode !== "cpr-exec";
  // Of faults that another kind has at each step, too: every other step, by turns.
  const even = (steps: readonly UpdateStep[]) => steps.filter((_, at) => long || at % 2 === 0);
  const odd = (steps: readonly UpdateStep[]) => steps.filter((_, at) => long || at % 2 === 1);
  return [
    ...points("kill-source", pair ? odd(all) : all),
    ...(pair ? points("kill-destination", stepsFrom(mode, "started")) : []),
    // Each step once at least: taken back at every other one, finished at the rest.
    ...points("kill-cprkit, then abort", pair ? even(all) : all),
    ...points("kill-cprkit, then resume", odd(all)),
    ...points("ctrl-c", pair ? even(all) : all),
    ...points("disk-full", pair ? odd(written.slice(0, -1)) : written.slice(0, -1)),
    ...(pair
      ? points("hang-destination", long ? stepsFrom(mode, "started") : ["started", "destination-ready", "switching"])
      : []),
    ...(mode === "cpr-transfer" ? points("garbage", ["started", "listening"]) : []),
    ...(pair && long ? points("hang-source", ["started", "before-switch"]) : []),
    // The file for the guest's state can't be written; or it is written, and spoilt before it is read.
    ...(mode === "cpr-transfer" || mode === "copy" ? [] : points("state-disk-full", ["source-set", "before-switch"])),
    ...(mode === "cpr-reboot" ? points("state-garbage", ["saved"]) : []),
  ];
}

/** Found out only when it loads, while the guest stands still: the way back is the source's, by the return path. */
export const failsToLoad: BadBinary = {
  name: "can't load the devices' state",
  script: 'case "$*" in *-incoming*) exec "$OTHER" "$@" -machine hpet=off;; esac; exec "$QEMU" "$@"',
};

export const badBinaries: readonly BadBinary[] = [
  { name: "exits at once, whatever it is asked", script: "exit 3" },
  { name: "hangs, whatever it is asked", script: "exec sleep 1000" },
  { name: "is no QEMU", script: "exec cat" },
  {
    name: "exits at once when it is to take over",
    script: 'case "$*" in *-incoming*) exit 7;; esac; exec "$QEMU" "$@"',
  },
  {
    name: "hangs when it is to take over, never listens",
    script: 'case "$*" in *-incoming*) exec sleep 1000;; esac; exec "$QEMU" "$@"',
  },
  {
    name: "exits a while after it was to take over",
    script: 'case "$*" in *-incoming*) sleep 0.3; echo broken >&2; exit 1;; esac; exec "$QEMU" "$@"',
  },
  {
    name: "does not exec, and hangs",
    script: 'case "$*" in *-incoming*) sleep 1000; exit 1;; esac; exec "$QEMU" "$@"',
  },
  {
    name: "lacks a part of the machine",
    script: 'case "$*" in *-incoming*) exec "$QEMU" "$@" -machine hpet=off;; esac; exec "$QEMU" "$@"',
  },
  {
    name: "builds another machine",
    script: 'case "$*" in *-incoming*) exec "$QEMU" "$@" -machine pc-i440fx-10.0;; esac; exec "$QEMU" "$@"',
  },
];
