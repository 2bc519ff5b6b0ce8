// cprkit demo: see it work. Needs only Node; with a QEMU, it also shows a real VM.

import { Command, Option } from "commander";
import { CprkitError } from "../../../vmstate/error.ts";
import type { FoundQemu } from "../../demo/find-qemu.ts";
import type { RoundTrips } from "../../demo/round-trips.ts";
import { exitCodes } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { wholeNumber } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import { startProgress } from "../../progress.ts";

interface DemoOptions {
  readonly fds: number;
  readonly qemu?: string;
  readonly to?: string;
  readonly rounds: number;
  readonly vm: boolean;
  readonly plot?: true;
  readonly json?: true;
}

/** The RFC's sizes, and some between them for the plot. */
const sizes = [100, 250, 540, 1000, 1700, 2870, 4600, 7530];

export function demoCommand(): Command {
  return new Command("demo")
    .description(
      "See it work: a real VM whose QEMU is replaced while its guest counts; thousands of real fds, found in O(1).",
    )
    .addOption(new Option("--qemu <path>", "QEMU 10 or newer for the real VM (default: qemu-system-x86_64 in PATH)"))
    .addOption(new Option("--to <path>", "the QEMU that takes its place (default: the same program)"))
    .addOption(new Option("--rounds <n>", "how often: there and back").argParser(wholeNumber(1, 1000)).default(3))
    .addOption(new Option("--no-vm", "leave the real VM out"))
    .addOption(new Option("--fds <n>", "number of fds to hand over").argParser(wholeNumber(1, 1_000_000)).default(7530))
    .addOption(new Option("--plot", "plot the look-ups' times, too"))
    .addOption(new Option("--json", "print the results as JSON"))
    .addHelpText(
      "after",
      "\nExample:\n  $ cprkit demo --fds 2870 --no-vm\n  $ cprkit demo --qemu /usr/bin/qemu-system-x86_64 --to /opt/qemu/bin/qemu-system-x86_64",
    )
    .action((options: DemoOptions) =>
      interruptible((signal) =>
        runDemo(options, signal).catch((error: unknown) => {
          // What an update says of a VM is of no use when that has ended with the demo.
          if (!signal.aborted) throw error;
          throw new CprkitError("ERR_ABORTED", "the demo was aborted", { cause: error });
        }),
      ),
    );
}

async function runDemo(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const [{ findQemu }, { handOver }, { timeLookUps }, { handOverText, lookUpText, plotText }] = await Promise.all([
    import("../../demo/find-qemu.ts"),
    import("../../demo/hand-over.ts"),
    import("../../demo/look-up.ts"),
    import("../../demo/view.ts"),
  ]);
  const json = options.json === true;
  const show = (text: string) => {
    if (!json) print(text);
  };
  const leftOut: FoundQemu = { found: false, reason: "left out, as --no-vm says" };
  const from = options.vm ? await findQemu(options.qemu) : leftOut;
  const to = from.found && options.to !== undefined ? await findQemu(options.to) : from;

  const vm = from.found && to.found ? await showVm(from.path, to.path, options.rounds, json, signal) : null;
  const skipped = from.found ? undefined : from.reason;
  if (skipped !== undefined) show(`No real VM: ${skipped}\n\n`);

  const progress = startProgress("starting a new process", json);
  try {
    const handed = await handOver(options.fds, progress.step, signal);
    const lookUps = [];
    for (const fds of sizes) {
      progress.step(`looking up ${fds} fds, list against hash`);
      await new Promise(setImmediate);
      if (signal.aborted) throw new CprkitError("ERR_ABORTED", "the demo was aborted", { cause: signal.reason });
      lookUps.push(timeLookUps(fds));
    }
    progress.stop();
    show(`${handOverText(handed)}\n${lookUpText(lookUps)}`);
    if (options.plot === true) show(`${plotText(lookUps)}\n`);

    if (json) printJson({ handOver: handed, lookUps, realVm: vm, realVmSkipped: skipped });
    const fine =
      handed.found === handed.fds && handed.same === handed.fds && handed.leaked.old === 0 && handed.leaked.new === 0;
    process.exitCode = fine && (vm === null || vm.lost === 0) ? exitCodes.fine : exitCodes.finding;
  } finally {
    progress.stop();
  }
}

/** How often the line with the guest's counter is drawn, milliseconds. */
const redrawMs = 100;

/** Replaces the QEMU of a real VM, and shows its counter meanwhile and a row for each replacement. */
async function showVm(
  from: string,
  to: string,
  rounds: number,
  json: boolean,
  signal: AbortSignal,
): Promise<RoundTrips> {
  const [{ makeRoundTrips }, { liveLines }, { replacedHead, replacedRow, roundTripsText }] = await Promise.all([
    import("../../demo/round-trips.ts"),
    import("../../demo/live.ts"),
    import("../../demo/view.ts"),
  ]);
  const progress = startProgress("starting a VM", json);
  const show = (text: string) => {
    if (!json) progress.above(text);
  };
  let doing = "";
  let timer: NodeJS.Timeout | undefined;
  try {
    const result = await makeRoundTrips({
      from,
      to,
      rounds,
      signal,
      onStart: (vm) => {
        show(`A real VM, whose QEMU is replaced ${2 * rounds} times while its guest counts:\n${replacedHead}`);
        timer = setInterval(() => progress.lines(liveLines(doing, vm.counts)), redrawMs);
      },
      onStep: (text) => {
        doing = text;
      },
      onReplaced: (replacement) => show(replacedRow(replacement)),
    });
    clearInterval(timer);
    progress.stop();
    if (!json) print(`${roundTripsText(result)}\n`);
    return result;
  } finally {
    clearInterval(timer);
    progress.stop();
  }
}
