// cprkit diff: what differs between two streams?

import { Command } from "commander";
import { compareCprStates, reportCprState } from "../../cpr/index.ts";
import { diffMigrations } from "../../migration/index.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { cprDiffText } from "../cpr-diff.ts";
import { exitCodes } from "../exit-codes.ts";
import { readInput, readStart } from "../input.ts";
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
    .description(
      "Show what differs between two streams: of CPR states the fds, of migration streams every device's fields.",
    )
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
        "Fds are matched by name and id; sections by name and instance. Guest RAM is compared by its blocks, not by",
        "its content.",
        "",
        "Exit codes: 0 the streams hold the same, 1 they differ, 2 usage, 3 a stream cannot be read to its end,",
        "4 a file cannot be opened.",
        "",
        "Examples:",
        "  $ cprkit diff cpr-10.0.bin cpr-11.1.bin",
        "  $ cprkit diff before.mig after.mig --section '*virtio*'",
      ].join("\n"),
    )
    .action(async (first: string, second: string, options: DiffOptions) => {
      const json = options.json === true;
      const cprStates = [first, second].filter(isCprState);
      if (cprStates.length === 2) {
        diffCprStates(first, second, json);
        return;
      }
      if (cprStates.length === 1) {
        throw new CprkitError(
          "ERR_BAD_MAGIC",
          `${cprStates[0]} is a CPR state, but the other file is none: two of a kind can be compared`,
        );
      }
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

function diffCprStates(first: string, second: string, json: boolean): void {
  const report = (path: string) => reportCprState({ bytes: readInput(path) });
  const differences = compareCprStates(report(first), report(second));
  process.stdout.write(json ? `${JSON.stringify({ differences })}\n` : cprDiffText(differences));
  process.exitCode = differences.length === 0 ? exitCodes.fine : exitCodes.finding;
}

function isCprState(path: string): boolean {
  return Buffer.from(readStart(path, 4)).toString("latin1") === "QCPR";
}
