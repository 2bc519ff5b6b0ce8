// cprkit demo: see it work. Needs only Node; with a QEMU, it also shows a real VM.

import { Command, Option } from "commander";
import { exitCodes } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { wholeNumber } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import { startProgress } from "../../progress.ts";

interface DemoOptions {
  readonly fds: number;
  readonly qemu?: string;
  readonly json?: true;
}

/** The RFC's sizes, and some between them for the plot. */
const sizes = [100, 250, 540, 1000, 1700, 2870, 4600, 7530];

export function demoCommand(): Command {
  return new Command("demo")
    .description("See it work: thousands of real fds, found in O(1) and carried to a new process; and a real VM.")
    .addOption(new Option("--fds <n>", "number of fds to hand over").argParser(wholeNumber(1, 1_000_000)).default(7530))
    .addOption(new Option("--qemu <path>", "QEMU 10 or newer for the real VM (default: qemu-system-x86_64 in PATH)"))
    .addOption(new Option("--json", "print the results as JSON"))
    .addHelpText("after", "\nExample:\n  $ cprkit demo --fds 2870\n  $ cprkit demo --qemu /usr/bin/qemu-system-x86_64")
    .action((options: DemoOptions) => interruptible((signal) => runDemo(options, signal)));
}

async function runDemo(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const [{ handOver }, { timeLookUps }, { findQemu, moveRealVm }, { handOverText, lookUpText, realVmText }] =
    await Promise.all([
      import("../../demo/hand-over.ts"),
      import("../../demo/look-up.ts"),
      import("../../demo/real-vm.ts"),
      import("../../demo/view.ts"),
    ]);
  const json = options.json === true;
  const show = (text: string) => {
    if (!json) print(`${text}\n`);
  };
  const qemu = await findQemu(options.qemu);
  const progress = startProgress("starting a new process", json);
  try {
    const handed = await handOver(options.fds, progress.step, signal);
    progress.stop();
    show(handOverText(handed));

    const lookUps = [];
    for (const fds of sizes) {
      progress.step(`looking up ${fds} fds, list against hash`);
      await new Promise(setImmediate);
      lookUps.push(timeLookUps(fds));
    }
    progress.stop();
    show(lookUpText(lookUps));

    let vm = null;
    if (qemu.found) {
      progress.step("moving a real VM");
      vm = await moveRealVm(qemu.path, signal, progress.step);
      progress.stop();
      show(realVmText(vm));
    } else {
      show(`No real VM: ${qemu.reason}`);
    }
    if (json)
      printJson({ handOver: handed, lookUps, realVm: vm, ...(qemu.found ? {} : { realVmSkipped: qemu.reason }) });
    const fine =
      handed.found === handed.fds && handed.same === handed.fds && handed.leaked.old === 0 && handed.leaked.new === 0;
    const counted = vm === null || vm.firstAfter === vm.lastBefore + 1;
    process.exitCode = fine && counted ? exitCodes.fine : exitCodes.finding;
  } finally {
    progress.stop();
  }
}
