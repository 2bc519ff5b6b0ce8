// cprkit ensure: sees to it that a VM runs in a certain QEMU, for programs that ask again and again.

import { Command, Option } from "commander";
import { interruptible } from "../../interrupt.ts";
import { modeOption, wholeNumber } from "../../options.ts";
import type { EnsureCommandOptions } from "../../update/ensure.ts";

export function ensureCommand(): Command {
  return new Command("ensure")
    .description("See to it that a VM runs in this QEMU, however often it is asked: for programs and orchestrators.")
    .addOption(new Option("--qmp <path>", "the VM, by the path of its QMP socket").conflicts("pid"))
    .addOption(new Option("--pid <pid>", "the VM, by its process id").argParser(wholeNumber(1, 2 ** 22)))
    .addOption(new Option("--qemu <program>", "the QEMU that it is to run in").makeOptionMandatory())
    .addOption(new Option("--key <name>", "names this request: the same one again gets the first answer"))
    .addOption(
      new Option("--wait <seconds>", "longest wait for who is at work on this VM (default: 300)").argParser(
        wholeNumber(0, 86_400),
      ),
    )
    .addOption(modeOption("how (default: the first of cpr-transfer, cpr-exec that works)"))
    .addOption(new Option("--timeout <seconds>", "longest wait for each step").argParser(wholeNumber(1, 86_400)))
    .addOption(new Option("--state-dir <folder>", "where journals and logs are kept"))
    .addOption(new Option("--json", "print the result as JSON"))
    .addHelpText(
      "after",
      `
Example:
  $ cprkit ensure --qmp /run/vm1/qmp.sock --qemu /opt/qemu-11.1/bin/qemu-system-x86_64 --json

It looks who has the guest, waits for whoever is at work, finishes or takes back an update that was cut off, compares the
QEMU that runs with the one that --qemu starts (its file and build, behind a wrapper script), and updates only if they differ.

The result, in --json "result": updated, nothing-to-do, refused, try-again, lost.
Exit code: 0 updated, or nothing to do; 1 refused: something is in the way that does not pass by itself; 2 usage; 4 try
again: nothing was changed, or it was rolled back; 5 lost: no QEMU runs the guest.`,
    )
    .action((options: EnsureCommandOptions) =>
      interruptible(async (signal) => (await import("../../update/ensure.ts")).runEnsure(options, signal)),
    );
}
