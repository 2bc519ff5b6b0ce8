// cprkit status: which QEMU runs the guest, also after an update was cut off.

import { Command, Option } from "commander";
import type { VmStatus } from "../../../qemu/update/status.ts";
import { printable } from "../../../vmstate/shown/text.ts";
import { exitCodes } from "../../exit-codes.ts";
import { wholeNumber } from "../../options.ts";
import { print, printError, printJson } from "../../output.ts";

interface StatusCommandOptions {
  readonly qmp?: string;
  readonly pid?: number;
  readonly stateDir?: string;
  readonly json?: true;
}

export function statusCommand(): Command {
  return new Command("status")
    .description("Say which QEMU runs the guest: of one VM, or of every VM that cprkit has updated.")
    .addOption(new Option("--qmp <path>", "one VM, by the path of its QMP socket"))
    .addOption(new Option("--pid <pid>", "one VM, by a process id").argParser(wholeNumber(1, 2 ** 22)))
    .addOption(new Option("--state-dir <folder>", "where journals are kept"))
    .addOption(new Option("--json", "print JSON"))
    .addHelpText(
      "after",
      `
Example:
  $ cprkit status --qmp /run/vm1/qmp.sock

--json prints one VM as { qmp, guest, pid, … }, all of them as { vms, problems: [{ folder, text }] }.

The journal of a VM that has been shut down since its update is shown once, then removed.

Exit code: 0 a QEMU has the guest (or the VM was shut down) and no update is left unfinished; 1 otherwise, also when a
journal can't be read.`,
    )
    .action(runStatus);
}

async function runStatus({ qmp, pid, stateDir, json }: StatusCommandOptions): Promise<void> {
  const { allStatus, forgetEnded, vmStatus } = await import("../../../qemu/update/status.ts");
  const one = qmp !== undefined || pid !== undefined;
  const target = one ? await vmStatus({ qmp, pid }, { stateDir }) : undefined;
  const { vms, problems } = target === undefined ? await allStatus({ stateDir }) : { vms: [target], problems: [] };
  if (problems.length > 0 || vms.some((status) => !isSettled(status))) process.exitCode = exitCodes.finding;
  for (const { text } of problems) printError(printable(text));
  if (json === true) printJson(target ?? { vms, problems });
  else showStatus(vms, problems.length);
  if (!one && vms.some(({ hasEnded }) => hasEnded)) await forgetEnded({ stateDir });
}

function showStatus(vms: readonly VmStatus[], problems: number): void {
  if (vms.length === 0 && problems === 0) {
    print("no journal found: cprkit has not updated a VM here\n");
  }
  for (const { qmp: path, text } of vms) print(`${printable(path)}: ${printable(text)}\n`);
}

function isSettled({ guest, update, hasEnded }: VmStatus): boolean {
  return hasEnded || ((guest === "source" || guest === "destination") && update?.outcome !== "unfinished");
}
