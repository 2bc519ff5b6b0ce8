// cprkit inspect: what is in this stream?

import { Command, Option } from "commander";
import { CprkitError } from "../../vmstate/error.ts";
import { showCprState } from "../cpr-view.ts";
import { readInput } from "../input.ts";

interface InspectOptions {
  readonly json?: true;
  readonly hex?: true;
}

export function inspectCommand(): Command {
  return new Command("inspect")
    .description("Show what a stream holds: the fds of a CPR state.")
    .argument("<file>", 'the recorded stream, or "-" for standard input')
    .addOption(new Option("--json", "print the result as JSON").conflicts("hex"))
    .addOption(new Option("--hex", "print every byte with the field it belongs to"))
    .addHelpText(
      "after",
      "\nExample:\n  $ cprkit inspect cpr-state.bin\n  $ cprkit inspect --json - < cpr-state.bin | jq '.fds[].name'",
    )
    .action((file: string, options: InspectOptions) => {
      const bytes = readInput(file);
      if (!startsWith(bytes, "QCPR")) {
        throw new CprkitError("ERR_BAD_MAGIC", `${file}: expected a CPR state ("QCPR"), found ${firstBytes(bytes)}`, {
          offset: 0,
        });
      }
      process.stdout.write(showCprState(bytes, options));
    });
}

function startsWith(bytes: Uint8Array, magic: string): boolean {
  return Buffer.from(bytes.subarray(0, magic.length)).toString("latin1") === magic;
}

function firstBytes(bytes: Uint8Array): string {
  return bytes.length === 0 ? "an empty input" : Buffer.from(bytes.subarray(0, 4)).toString("hex");
}
