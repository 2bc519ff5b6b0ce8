// The steps of an update, in their order, and which of them can be undone. docs/decisions/0008-update-state-machine.md
// explains each.

import type { UpdateModeName } from "../vm/binary.ts";

/** Every step that some mode has. A step is named for what has been done when it is reached. */
export const allSteps = [
  /** The VM has been looked at and its monitor is held. */
  "inspected",
  /** The new binary has been asked, the new command line derived, nothing is in the way. */
  "planned",
  "locked",
  "journalled",
  /** cpr-exec: the new command was started while the old one ran, got as far as its monitor, and was ended. */
  "rehearsed",
  /** Mode and capabilities are set on the source; it reports no blocker. */
  "source-set",
  /** The destination's process exists. */
  "started",
  /** cpr-transfer: the destination waits on the CPR channel, the tap before it. */
  "listening",
  /** cpr-transfer: the source has written its CPR state and still runs the guest. */
  "migrating",
  /** cpr-transfer: the destination has the whole CPR state. */
  "state-passed",
  /** The destination has built its machine and answers on its monitor. */
  "destination-ready",
  /** The command before the pause has run. The last step at which nothing has been stopped for certain. */
  "before-switch",
  /** The command that leads to the guest's stop has been sent; with copy the guest runs on until its RAM is copied. */
  "switching",
  /** The source has stopped the guest. */
  "stopped",
  /** cpr-reboot: the whole state is in the file. */
  "saved",
  /** cpr-reboot: the destination has been told to load. */
  "loading",
  /** cpr-exec: the process is the new program. */
  "replaced",
  /** The destination runs the guest: from here on only forward. */
  "running",
  "source-ended",
  /** The paths that people use lead to the destination. */
  "names-handed-over",
  "done",
] as const;

/** One of {@link allSteps}. */
export type UpdateStep = (typeof allSteps)[number];

const all = (...left: readonly UpdateStep[]) => allSteps.filter((step) => !left.includes(step));

/** The steps of each mode, in order: all but those that are another mode's. */
export const updateSteps: Readonly<Record<UpdateModeName, readonly UpdateStep[]>> = {
  "cpr-transfer": all("rehearsed", "saved", "loading", "replaced"),
  copy: all("rehearsed", "listening", "migrating", "state-passed", "saved", "loading", "replaced"),
  "cpr-exec": all(
    ...(["started", "listening", "migrating", "state-passed", "destination-ready"] as const),
    ...(["saved", "loading", "source-ended"] as const),
  ),
  "cpr-reboot": all("rehearsed", "listening", "migrating", "state-passed", "replaced"),
};

/** True before the step of the mode. */
export function isBefore(mode: UpdateModeName, step: UpdateStep, other: UpdateStep): boolean {
  const steps = updateSteps[mode];
  return steps.indexOf(step) < steps.indexOf(other);
}

/** The step by which the source may have begun the update's migration; it is written down before the command is given. */
export function mayHaveBegun(mode: UpdateModeName, step: UpdateStep): boolean {
  return !isBefore(mode, step, mode === "cpr-transfer" ? "migrating" : "switching");
}

/** True from the step on after which an update only goes forward. */
export function isPastReturn(mode: UpdateModeName, step: UpdateStep): boolean {
  const steps = updateSteps[mode];
  return steps.indexOf(step) >= steps.indexOf("running");
}
