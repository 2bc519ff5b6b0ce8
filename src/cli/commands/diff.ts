// cprkit diff: what differs between two migration streams?

import { Command } from "commander";
import { diffMigrations } from "../../migration/index.ts";
import { exitCodes } from "../exit-codes.ts";
import { diffJson, diffText } from "../migration/diff-view.ts";
import { verdict } from "../migration/inspect.ts";
import { readMigrationFile } from "../migration/read.ts";
import { select } from "../migration/select.ts";
import { byteOffset } from "../options.ts";

interface DiffOptions {
  readonly json?: true;
  readonly section?: string;
  readonly field?: string;
  readonly offset?: number;
}

export function diffCommand(): Command {
  return new Command("diff")
    .description("Show what differs between two migration streams: device by device, field by field.")
    .argument("<a>", "the first stream")
    .argument("<b>", "the second stream")
    .option("--section <glob>", 'compare only sections of this name, such as "*/virtio-net"')
    .option("--field <glob>", 'compare only fields of this path, such as "parent_obj/*"')
    .option("--offset <bytes>", "where the streams begin in their files", byteOffset)
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      [
        "",
        "Sections are matched by name and instance. Guest RAM is compared by its blocks, not by its content.",
        "",
        "Exit codes: 0 the streams hold the same, 1 they differ, 2 usage, 3 a stream cannot be read to its end,",
        "4 a file cannot be opened.",
        "",
        "Example:",
        "  $ cprkit diff before.mig after.mig --section '*virtio*'",
      ].join("\n"),
    )
    .action(async (first: string, second: string, options: DiffOptions) => {
      const json = options.json === true;
      const read = async (path: string) => await readMigrationFile(path, { offset: options.offset }, json);
      const [a, b] = [await read(first), await read(second)];
      const differences = diffMigrations(select(a, options), select(b, options));
      process.stdout.write(
        json ? `${JSON.stringify({ differences: diffJson(differences) })}\n` : diffText(differences),
      );
      process.exitCode =
        [a, b].map((one) => verdict(one, json)).find((code) => code > exitCodes.finding) ??
        (differences.length === 0 ? exitCodes.fine : exitCodes.finding);
    });
}
