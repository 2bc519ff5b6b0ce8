// cprkit status: which QEMU runs the guest, also after an update was cut off.

import { Command, Option } from "commander";
import type { VmStatus } from "../../../qemu/update/status.ts";
import { isCprkitError } from "../../../vmstate/error.ts";
import { printable } from "../../../vmstate/shown/text.ts";
import { exitCodes } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { wholeNumber } from "../../options.ts";
import { print, printError, printJson } from "../../output.ts";
import { fit } from "../../view/fit.ts";
import type { Look } from "../../vms/watch.ts";

interface StatusCommandOptions {
  readonly qmp?: string;
  readonly pid?: number;
  readonly stateDir?: string;
  readonly watch?: number | true;
  readonly json?: true;
}

export function statusCommand(): Command {
  return new Command("status")
    .description("Say which QEMU runs the guest: of one VM, or of every VM that cprkit has updated.")
    .addOption(new Option("--qmp <path>", "one VM, by the path of its QMP socket"))
    .addOption(new Option("--pid <pid>", "one VM, by a process id").argParser(wholeNumber(1, 2 ** 22)))
    .addOption(new Option("--state-dir <folder>", "where journals are kept"))
    .addOption(
      new Option("--watch [seconds]", "again every so many seconds (default: 2), until Ctrl-C").argParser(
        wholeNumber(1, 86_400),
      ),
    )
    .addOption(new Option("--json", "print JSON"))
    .addHelpText(
      "after",
      `
Example:
  $ cprkit status --qmp /run/vm1/qmp.sock

--json prints one VM as { qmp, guest, pid, … }, all of them as { vms, problems: [{ folder, text }] }.

--watch draws over the last status on a terminal; elsewhere, and with --json, it prints a line when something has changed.

The journal of a VM that has been shut down since its update is shown once, then removed.

Exit code: 0 a QEMU has the guest (or the VM was shut down) and no update is left unfinished; 1 otherwise, also when a
journal can't be read.`,
    )
    .action(runStatus);
}

async function runStatus(options: StatusCommandOptions): Promise<void> {
  const { watch: again, json = false } = options;
  if (again !== undefined) {
    const { watch } = await import("../../vms/watch.ts");
    const everyMs = (again === true ? defaultSeconds : again) * 1000;
    await interruptible((signal) => watch(() => watchedStatus(options), { everyMs, json, signal }));
    // What is still being asked changes nothing.
    process.exit();
  }
  const { forgetEnded } = await import("../../../qemu/update/status.ts");
  const { target, vms, problems } = await lookAt(options);
  for (const { text } of problems) printError(printable(text));
  if (json) printJson(target ?? { vms, problems });
  else
    print(
      linesOf(vms, problems.length)
        .map((line) => `${fit(line, 2)}\n`)
        .join(""),
    );
  if (target === undefined && vms.some(({ hasEnded }) => hasEnded)) await forgetEnded({ stateDir: options.stateDir });
}

const defaultSeconds = 2;

/** The exit code is that of the last look. */
async function lookAt({ qmp, pid, stateDir }: StatusCommandOptions) {
  const { allStatus, vmStatus } = await import("../../../qemu/update/status.ts");
  const one = qmp !== undefined || pid !== undefined;
  const target = one ? await vmStatus({ qmp, pid }, { stateDir }) : undefined;
  const { vms, problems } = target === undefined ? await allStatus({ stateDir }) : { vms: [target], problems: [] };
  const isFine = problems.length === 0 && vms.every(isSettled);
  process.exitCode = isFine ? exitCodes.fine : exitCodes.finding;
  return { target, vms, problems };
}

/** A VM that does not answer may do so the next time. */
async function watchedStatus(options: StatusCommandOptions): Promise<Look> {
  try {
    const { target, vms, problems } = await lookAt(options);
    const wrong = problems.map(({ text }) => printable(text));
    return { lines: [...linesOf(vms, problems.length), ...wrong], json: target ?? { vms, problems } };
  } catch (error) {
    if (!isCprkitError(error) || error.code === "ERR_USAGE") throw error;
    process.exitCode = exitCodes.finding;
    return { lines: [printable(error.message)], json: { error } };
  }
}

function linesOf(vms: readonly VmStatus[], problems: number): string[] {
  if (vms.length === 0 && problems === 0) return ["no journal found: cprkit has not updated a VM here"];
  return vms.map(({ qmp: path, text }) => `${printable(path)}: ${printable(text)}`);
}

function isSettled({ guest, update, hasEnded }: VmStatus): boolean {
  return hasEnded || ((guest === "source" || guest === "destination") && update?.outcome !== "unfinished");
}
