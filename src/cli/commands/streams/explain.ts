// cprkit explain: why did a load fail?

import { Command } from "commander";
import { inputName, readWhole } from "../../../files/read.ts";
import { type Explanation, explainLog, type Migration } from "../../../migration/index.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import { exitCodes } from "../../exit-codes.ts";
import { kindOf, openInput, refuse } from "../../input/open.ts";
import { readWithProgress } from "../../input/read.ts";
import { codeLink } from "../../links.ts";
import { byteOffset } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import { explanationsText } from "../../view/explain.ts";

interface ExplainOptions {
  readonly log: string;
  readonly offset?: number;
  readonly snapshot?: string;
  readonly json?: true;
}

/** A log of a VM that has run for years has some MiB. */
const maxLogBytes = 256 * 1024 * 1024;

export function explainCommand(): Command {
  return new Command("explain")
    .description("Say why a load failed: QEMU's error, or a log of libvirt, KubeVirt or Proxmox VE, in plain words.")
    .argument("[stream]", "the stream that was to be loaded: names registers, devices and CPUs by it")
    .option("--log <file>", 'the log, or "-" for standard input', "-")
    .option("--offset <bytes>", "where the stream begins in its file", byteOffset)
    .option("--snapshot <name>", "the snapshot, if it is a qcow2 image")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      [
        "",
        "It is the destination's log that says why: of libvirt /var/log/libvirt/qemu/NAME.log on that host.",
        "docs/explain.md lists what is known.",
        "",
        "Exit codes: 0 the log has no failed load, 1 it has, and the reasons are shown, 2 usage, 3 the stream is",
        "none, 4 a file cannot be opened.",
        "",
        "Examples:",
        "  $ cprkit explain < /var/log/libvirt/qemu/vm1.log",
        "  $ cprkit explain vm1.save --log vm1.log",
        "  $ qemu-system-x86_64 ... -incoming file:vm.mig 2>&1 | cprkit explain vm.mig",
      ].join("\n"),
    )
    .action(async (stream: string | undefined, options: ExplainOptions) => {
      if (stream === "-" && options.log === "-") {
        throw new CprkitError("ERR_USAGE", 'standard input ("-") is the log: name a file for the stream, or --log');
      }
      const migration = stream === undefined ? undefined : await read(stream, options);
      const log = Buffer.from(readWhole(options.log, maxLogBytes)).toString("utf8");
      const explanations: readonly Explanation[] = explainLog(log, migration);
      if (options.json === true) printJson({ explanations });
      else print(explanationsText(explanations, await codeLink()));
      process.exitCode = explanations.length === 0 ? exitCodes.fine : exitCodes.finding;
    });
}

/** A damaged stream serves, too: what is left of it is read. */
async function read(path: string, options: ExplainOptions): Promise<Migration> {
  const input = await openInput(path, options);
  try {
    const kind = kindOf(input);
    if (kind === "cpr") {
      throw new CprkitError("ERR_BAD_MAGIC", "this is a CPR state; name the migration stream").within(inputName(path));
    }
    if (kind === undefined) return await refuse(input);
    return await readWithProgress(input, {}, options.json === true);
  } finally {
    input.close();
  }
}
