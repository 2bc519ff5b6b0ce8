// cprkit convert: writes a recorded CPR state in the other ABI, or for another QEMU.

import { writeFileSync } from "node:fs";
import { Command, Option } from "commander";
import { type CprAbi, loadCprState, saveCprState } from "../../../cpr/index.ts";
import { maxCprStateBytes } from "../../../cpr/limits.ts";
import { readWhole, systemReason } from "../../../files/read.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import { qemuVersion } from "../../options.ts";
import { printWarning } from "../../output.ts";

interface ConvertOptions {
  readonly to?: CprAbi;
  readonly for?: ReturnType<typeof qemuVersion>;
  readonly output: string;
}

export function convertCommand(): Command {
  return new Command("convert")
    .description("Write a CPR state in another ABI, or for another QEMU.")
    .argument("<file>", 'the recorded stream, or "-" for standard input')
    .addOption(new Option("--to <abi>", "ABI to write (default: as it is)").choices(["list", "hash"]))
    .addOption(new Option("--for <version>", 'QEMU that is to load it, such as "10.0"').argParser(qemuVersion))
    .addOption(new Option("-o, --output <file>", 'where to write, or "-" for standard output').makeOptionMandatory())
    .addHelpText(
      "after",
      "\nExample: make a state of QEMU 11.1 loadable by QEMU 10.0\n  $ cprkit convert cpr-11.1.bin --for 10.0 -o cpr-10.0.bin",
    )
    .action((file: string, options: ConvertOptions) => {
      const { state, abi, fdForm, warnings } = loadCprState({ bytes: readWhole(file, maxCprStateBytes) });
      for (const warning of warnings) printWarning(warning);
      const { bytes } = saveCprState(state, { abi: options.to ?? abi, fdForm, forVersion: options.for });
      writeOutput(options.output, bytes);
    });
}

function writeOutput(path: string, bytes: Uint8Array): void {
  if (path === "-" && process.stdout.isTTY) {
    throw new CprkitError(
      "ERR_USAGE",
      "a CPR state is binary, and standard output is a terminal: redirect standard output, or give -o FILE",
    );
  }
  try {
    writeFileSync(path === "-" ? process.stdout.fd : path, bytes);
  } catch (cause) {
    const where = path === "-" ? "standard output" : path;
    throw new CprkitError("ERR_FILE", `cannot write ${where}: ${systemReason(cause)}`, { cause });
  }
}
