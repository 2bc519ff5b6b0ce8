// cprkit check: can one QEMU load what another saved?

import { Command } from "commander";
import { inputName } from "../../../files/read.ts";
import {
  type CheckFinding,
  type CheckSide,
  checkMigration,
  checkSideOf,
  checkSideOfJson,
} from "../../../migration/index.ts";
import { CprkitError, isCprkitError } from "../../../vmstate/error.ts";
import { counted, printable } from "../../../vmstate/shown/text.ts";
import { type ExitCode, exitCodes } from "../../exit-codes.ts";
import { type Input, kindOf, refuse } from "../../input/open.ts";
import { withPair } from "../../input/pair.ts";
import { maxJsonBytes, readWithProgress } from "../../input/read.ts";
import { type CodeLink, codeLink } from "../../links.ts";
import { byteOffset } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import { fit } from "../../view/fit.ts";

interface CheckOptions {
  readonly json?: true;
  readonly strict?: true;
  readonly offset?: number;
  readonly snapshot?: string;
}

export function checkCommand(): Command {
  return new Command("check")
    .description(
      "Say whether a machine saved by one QEMU can be loaded by another: by two streams, or by descriptions alone.",
    )
    .argument("<source>", "what was saved, or what saves: see below")
    .argument("<destination>", "what is to load it")
    .option("--strict", "treat warnings as errors")
    .option("--offset <bytes>", "where a stream begins in its file", byteOffset)
    .option("--snapshot <name>", "the snapshot, if it is a qcow2 image")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      [
        "",
        "Each of the two is a migration stream, the JSON description of one, or the file that QEMU writes with",
        '"qemu-system-x86_64 -M <machine type> -dump-vmstate FILE".',
        "",
        "An error: the load fails, or reads wrong values. A warning: it depends on what the files do not show.",
        "Two streams show two machines: best is one that the destination saved itself, configured as it will be, with",
        "its firmware or guest started. Then values are compared as well: PCI configurations, virtio, RAM, UUID.",
        "A dump shows what device models can send, not which devices a machine has, nor how they are set; sections",
        "such as timer or cpu_common are not in it.",
        "",
        "Exit codes: 0 no errors (there may be warnings), 1 errors (with --strict: or warnings), 2 usage, 3 a file is",
        "neither a stream nor JSON, or is damaged, 4 a file cannot be opened.",
        "",
        "Examples: can QEMU 11.1 load what a 10.0 machine saved? The machine, as 11.1 has it and saves it; the models alone.",
        "  $ cprkit check saved.mig saved-by-11.1.mig",
        "  $ qemu-11.1 -M pc-q35-10.0 -dump-vmstate 11.1.json",
        "  $ cprkit check saved.mig 11.1.json",
      ].join("\n"),
    )
    .action(async (source: string, destination: string, options: CheckOptions) => {
      process.exitCode = await withPair(source, destination, options, (inputs) => checkStreams(inputs, options));
    });
}

async function checkStreams([source, destination]: readonly [Input, Input], options: CheckOptions): Promise<ExitCode> {
  const sides = [await sideOf(source, options), await sideOf(destination, options)] as const;
  const findings = checkMigration(...sides);
  // A description says what a device model can send, not which devices a machine has, nor how they are set.
  const compared = sides.every(({ kind }) => kind === "stream") ? "machines" : "descriptions";
  if (options.json === true) printJson({ compared, findings });
  else print(text(findings, compared, await codeLink()));
  const bad = findings.some(({ severity }) => severity === "error" || options.strict === true);
  return bad ? exitCodes.finding : exitCodes.fine;
}

async function sideOf(input: Input, { json }: CheckOptions): Promise<CheckSide> {
  if (input.snapshots !== undefined) await refuse(input);
  const kind = kindOf(input);
  const description = kind === undefined ? await input.all(maxJsonBytes) : new Uint8Array();
  try {
    if (kind === "migration") {
      const migration = await readWithProgress(input, {}, json === true);
      if (migration.stopped !== undefined) throw migration.stopped;
      return checkSideOf(migration);
    }
    if (kind === "cpr") {
      const reason = "this is a CPR state, which describes no devices; expected a migration stream, its JSON or a dump";
      throw new CprkitError("ERR_BAD_MAGIC", reason, { offset: 0 });
    }
    return checkSideOfJson(Buffer.from(description).toString("utf8"));
  } catch (error) {
    throw isCprkitError(error) ? error.within(inputName(input.path)) : error;
  }
}

const agreement = {
  machines: "nothing is in the way",
  descriptions: "descriptions agree; the machines were not compared",
};

function text(findings: readonly CheckFinding[], compared: "machines" | "descriptions", link: CodeLink): string {
  const lines = findings.map(({ severity, code, section, path, message }) => {
    const place = [section, path]
      .filter((part) => part !== "")
      .map(printable)
      .join(": ");
    const what = `${place === "" ? "" : `${place}: `}${printable(message)}`;
    return fit(`${severity}  ${what}  [${link("check.md", code)}]`, severity.length + 2);
  });
  const errors = findings.filter(({ severity }) => severity === "error").length;
  const warnings = findings.length - errors;
  lines.push(
    errors > 0
      ? `the destination cannot load it: ${counted(errors, "error")}, ${counted(warnings, "warning")}`
      : `${agreement[compared]}${warnings > 0 ? `, ${counted(warnings, "warning")}` : ""}`,
  );
  return `${lines.join("\n")}\n`;
}
