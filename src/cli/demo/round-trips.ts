// The demo's main job: a real VM's QEMU is replaced by another, and that one by the first again, while the guest counts.

import { join } from "node:path";
import { updateVm } from "../../qemu/update/update.ts";
import { type Count, type CountingVm, startCountingVm } from "./counting-vm.ts";

/** One QEMU put in another's place. */
export interface Replacement {
  readonly from: string;
  readonly to: string;
  readonly fds: number;
  /** The guest's last number in the old QEMU, and its first in the new one. */
  readonly lastBefore: number;
  readonly firstAfter: number;
  /** Milliseconds between those two numbers, by the guest's own counter, as it was seen from outside. */
  readonly gapMs: number;
  /** Milliseconds between each two numbers around the gap, which is in the middle. */
  readonly around: readonly number[];
}

export interface RoundTrips {
  readonly replacements: readonly Replacement[];
  /** How many numbers the guest has counted, and how many are missing or came twice. */
  readonly counted: number;
  readonly lost: number;
  /** Milliseconds: the usual time between two numbers (the median). */
  readonly usualMs: number;
}

export interface RoundTripOptions {
  readonly from: string;
  readonly to: string;
  readonly rounds: number;
  readonly signal: AbortSignal;
  /** Told what is going on, and the VM to look at. */
  readonly onStart: (vm: CountingVm) => void;
  readonly onStep: (text: string) => void;
  readonly onReplaced: (replacement: Replacement) => void;
}

/** How long the guest is left alone between two replacements, in numbers: about a second. */
const rest = 90;

/**
 * Starts the VM in `from`, and replaces the QEMU there and back as often as `rounds` says. Whatever happens, the VM is
 * ended and its files removed.
 *
 * @throws CprkitError as updateVm; ERR_QEMU_EXITED, ERR_TIMEOUT, ERR_ABORTED when the guest does not count
 */
export async function makeRoundTrips(options: RoundTripOptions): Promise<RoundTrips> {
  const { from, to, rounds, signal, onStep } = options;
  onStep("starting a VM");
  const vm = await startCountingVm(from, signal);
  const replacements: Replacement[] = [];
  try {
    options.onStart(vm);
    for (let at = 0; at < 2 * rounds; at++) {
      onStep(at === 0 ? "the guest counts" : "and goes on counting");
      await vm.counted(rest, signal);
      onStep(at % 2 === 0 ? "a new QEMU is put in its place" : "and the first one again");
      const replaced = await replace(vm, at % 2 === 0 ? to : from, signal);
      replacements.push(replaced);
      options.onReplaced(replaced);
    }
    await vm.counted(rest, signal);
    const intervals = intervalsOf(vm.counts).sort((a, b) => a - b);
    return {
      replacements,
      counted: vm.counts.length,
      lost: vm.counts.filter(({ value }, at) => at > 0 && value !== (vm.counts[at - 1] as Count).value + 1).length,
      usualMs: intervals[intervals.length >> 1] as number,
    };
  } finally {
    await vm.end();
  }
}

/** Numbers shown on each side of a gap. */
const side = 12;

async function replace(vm: CountingVm, qemu: string, signal: AbortSignal): Promise<Replacement> {
  const begin = Math.max(1, vm.counts.length - 1);
  const report = await updateVm({ qmp: vm.qmp }, { qemu, stateDir: join(vm.folder, "state"), signal });
  vm.runsIn(report.pid);
  await vm.counted(side + 1, signal);
  const { at, gapMs } = widestGap(vm.counts, begin, report.stopUs, report.resumeUs);
  return {
    from: report.from,
    to: report.to,
    fds: report.fds?.length ?? 0,
    lastBefore: (vm.counts[at - 1] as Count).value,
    firstAfter: (vm.counts[at] as Count).value,
    gapMs,
    around: intervalsOf(vm.counts.slice(Math.max(0, at - side - 1), at + side + 1)),
  };
}

/**
 * The longest time without a number since `begin`; of those while the guest was stopped, where that is known: a busy
 * machine makes gaps of its own.
 */
export function widestGap(
  counts: readonly Count[],
  begin: number,
  stopUs: number | undefined,
  resumeUs: number | undefined,
): { at: number; gapMs: number } {
  let found = { at: begin, gapMs: -1 };
  for (let at = begin; at < counts.length; at++) {
    const [before, after] = [counts[at - 1] as Count, counts[at] as Count];
    const spans = after.at * 1000 >= (stopUs ?? 0) && before.at * 1000 <= (resumeUs ?? Number.POSITIVE_INFINITY);
    if (spans && after.at - before.at > found.gapMs) found = { at, gapMs: after.at - before.at };
  }
  return found;
}

function intervalsOf(counts: readonly Count[]): number[] {
  return counts.slice(1).map(({ at }, index) => at - (counts[index] as Count).at);
}
