// cprkit fds: every fd of a running QEMU, and what a CPR update does with it.

import { Command, Option } from "commander";
import type { VmFdsReport } from "../../../qemu/fds/report.ts";
import { counted, printable } from "../../../vmstate/shown/text.ts";
import { interruptible } from "../../interrupt.ts";
import { wholeNumber } from "../../options.ts";
import { print, printJson, printWarning } from "../../output.ts";
import { fit } from "../../view/fit.ts";
import { table } from "../../view/table.ts";

interface FdsCommandOptions {
  readonly pid: number;
  readonly json?: true;
}

export function fdsCommand(): Command {
  return new Command("fds")
    .description("List every fd of a running QEMU: what it is, and whether CPR would carry it, under which name.")
    .addOption(
      new Option("--pid <pid>", "process of the running QEMU").argParser(wholeNumber(1, 2 ** 22)).makeOptionMandatory(),
    )
    .addOption(new Option("--json", "print JSON"))
    .addHelpText(
      "after",
      `
Example:
  $ cprkit fds --pid "$(pidof qemu-system-x86_64)"

FATE says what becomes of an fd in a cpr-transfer or cpr-exec update:
  carried    CPR hands it to the new QEMU under NAME and ID
  handed     cprkit update hands it over: CPR does not carry it
  reopened   the new QEMU opens the same path
  recreated  the new QEMU makes one of its own
  inherited  comes from whoever starts the new QEMU
  lost       neither; WHY says what to do
  unknown    can't be seen from outside
Run it as the user of QEMU, or as root. Names need QEMU's monitor; while another client holds it, some are missing.`,
    )
    .action((options: FdsCommandOptions) => interruptible((signal) => runFds(options, signal)));
}

async function runFds({ pid, json }: FdsCommandOptions, signal: AbortSignal): Promise<void> {
  const { reportVmFds } = await import("../../../qemu/fds/report.ts");
  const report = await reportVmFds({ pid }, { signal });
  if (json === true) {
    printJson(report);
    return;
  }
  print(asText(report));
  for (const text of report.warnings) printWarning(printable(text));
}

function asText({ pid, program, version, fds, interrupts }: VmFdsReport): string {
  const rows = fds.map(({ fd, what, fate, name, id, why }) =>
    [String(fd), what, fate, name ?? "", id === undefined ? "" : String(id), why].map(printable),
  );
  const of = version === undefined ? program : `QEMU ${version}, ${program}`;
  const given = fds.filter(({ fate }) => fate === "handed").length;
  const handed = given === 0 ? "" : `, cprkit hands over ${given}`;
  const named = fds.filter(({ fate }) => fate === "carried").length;
  const carried =
    interrupts === 0 ? named : `${named + interrupts} or so, ${interrupts} of them interrupts of VFIO devices`;
  return (
    table(["FD", "WHAT", "FATE", "NAME", "ID", "WHY"], rows, ["FD", "ID"]) +
    `${fit(`Process ${pid} (${printable(of)}): ${counted(fds.length, "fd")}, CPR carries ${carried}${handed}`, 2)}\n`
  );
}
