// cprkit update: replaces the QEMU under a running guest, or finishes an update that was cut off.

import { Command, InvalidArgumentError, Option } from "commander";
import { findingCodes } from "../../../qemu/finding.ts";
import { interruptible } from "../../interrupt.ts";
import { nearWords } from "../../near.ts";
import { modeOption, wholeNumber } from "../../options.ts";
import type { UpdateCommandOptions } from "../../update/options.ts";

export function updateCommand(): Command {
  return new Command("update")
    .description("Replace the QEMU under a running guest. Until the new one runs the guest, any failure rolls back.")
    .argument("[command...]", "after --: the whole new command line, in place of the derived one")
    .addOption(new Option("--qmp <path...>", "the VM, by the path of its QMP socket; or several VMs"))
    .addOption(new Option("--pid <pid>", "the VM, by its process id").argParser(wholeNumber(1, 2 ** 22)))
    .addOption(new Option("--all", "every QEMU of this user (root: of every user)").conflicts(["qmp", "pid", "match"]))
    .addOption(new Option("--match <glob>", "those whose name or socket is like this").conflicts(["qmp", "pid"]))
    .addOption(
      new Option("--at-once <n>", "several VMs: so many updates side by side (default: one for each core)").argParser(
        wholeNumber(1, 1_000),
      ),
    )
    .addOption(new Option("--qemu <program>", "the new QEMU (default: the program that runs now)"))
    .addOption(
      modeOption("how (default: the first of cpr-transfer, cpr-exec, copy that works; copy: see --allow-copy)"),
    )
    .addOption(
      new Option("--allow-copy", "copy the guest's RAM if nothing else works: costs its memory once more, and time"),
    )
    .addOption(
      new Option("--max-downtime <ms>", "with copy: longest pause of the guest").argParser(wholeNumber(1, 2_000_000)),
    )
    .addOption(new Option("--max-bandwidth <MiB>", "with copy: MiB a second").argParser(wholeNumber(1, 2 ** 20)))
    .addOption(
      new Option("--copy-timeout <seconds>", "with copy: longest time for it; then it is rolled back").argParser(
        wholeNumber(1, 604_800),
      ),
    )
    .addOption(new Option("--timeout <seconds>", "longest wait for each step").argParser(wholeNumber(1, 86_400)))
    .addOption(new Option("--state-dir <folder>", "where journals and logs are kept"))
    .addOption(new Option("--allow <code...>", "go on despite the findings with these codes").argParser(allowCode))
    .addOption(
      new Option("--wait-for-jobs <seconds>", "wait so long for block jobs that are under way").argParser(
        wholeNumber(1, 86_400 * 7),
      ),
    )
    .addOption(new Option("--before-pause <command>", "run this just before the guest stops; if it fails, roll back"))
    .addOption(new Option("--on-success <command>", "run this after the update"))
    .addOption(new Option("--on-failure <command>", "run this after a failure, when the guest is settled"))
    .addOption(new Option("--vnc-password-file <file>", "its first line is the new QEMU's VNC password"))
    .addOption(new Option("--spice-password-file <file>", "the same for SPICE"))
    .addOption(new Option("--dry-run", "only show the new command line and what is in the way"))
    .addOption(new Option("--resume", "finish an update that was cut off").conflicts(["abort", "dryRun"]))
    .addOption(new Option("--abort", "take an update that was cut off back, if it is not too late").conflicts("dryRun"))
    .addOption(new Option("--json", "print the result as JSON"))
    .addHelpText(
      "after",
      `
Examples:
  $ cprkit update --qmp /run/vm1/qmp.sock --qemu /opt/qemu-11.1/bin/qemu-system-x86_64 --dry-run
  $ cprkit update --qmp /run/vm1/qmp.sock --qemu /opt/qemu-11.1/bin/qemu-system-x86_64
  $ cprkit update --pid 4711 --mode cpr-exec -- /usr/bin/qemu-system-x86_64 -machine …
  $ cprkit update --match 'web-*' --qemu /opt/qemu-11.1/bin/qemu-system-x86_64 --at-once 4

Of several VMs at most one is in the switch at a time; one that fails does not hinder the others, and --json prints a line
for each event. The exit code is the worst one.

Exit code: 0 done, 1 --dry-run found a blocker or --abort came too late (the update was finished), 4 refused or rolled
back: the last line says where the guest is. \`cprkit status\` says it at any time.`,
    )
    .action((command: string[], options: UpdateCommandOptions) =>
      interruptible(async (signal) => (await import("../../update/run.ts")).runUpdate(command, options, signal)),
    );
}

/** A code that is not known would allow nothing, unnoticed. Throws InvalidArgumentError. */
function allowCode(code: string, before: readonly string[] = []): readonly string[] {
  const known = Object.keys(findingCodes);
  if (known.includes(code)) return [...before, code];
  const near = nearWords(code, known);
  const hint = near.length === 0 ? "docs/preflight.md has the list" : `did you mean ${near.join(" or ")}?`;
  throw new InvalidArgumentError(`there is no finding with this code; ${hint}`);
}
