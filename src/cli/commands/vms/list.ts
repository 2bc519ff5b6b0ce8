// cprkit list: which VMs run here, and what can be done with each.

import { Command, Option } from "commander";
import { interruptible } from "../../interrupt.ts";
import type { ListCommandOptions } from "../../vms/list.ts";

export function listCommand(): Command {
  return new Command("list")
    .description("Say which VMs run here, and in which way each can be updated. Changes nothing.")
    .addOption(
      new Option("--qemu <program>", "the new QEMU (default: of each VM, the program that it was started from)"),
    )
    .addOption(new Option("--quick", "only who they are, not how they can be updated: starts no QEMU to ask it"))
    .addOption(new Option("--json", "print JSON"))
    .addHelpText(
      "after",
      `
Examples:
  $ cprkit list
  $ cprkit list --qemu /opt/qemu-11.1/bin/qemu-system-x86_64

MODE is what \`cprkit update\` would take. Below the table stands what is in the way of a VM that has none, and why one
could not be asked: it belongs to another user, or another client holds its monitor, which serves one at a time.

Exit code: 0, also when no VM runs here.`,
    )
    .action((options: ListCommandOptions) =>
      interruptible(async (signal) => (await import("../../vms/list.ts")).runList(options, signal)),
    );
}
