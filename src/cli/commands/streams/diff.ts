// cprkit diff: what differs between two streams?

import { Command, Option } from "commander";
import { compareCprStates, reportCprState } from "../../../cpr/index.ts";
import { maxCprStateBytes } from "../../../cpr/limits.ts";
import { inputName } from "../../../files/read.ts";
import { diffMigrations, type Migration } from "../../../migration/index.ts";
import { differencesToJson } from "../../../migration/json.ts";
import { CprkitError, isCprkitError } from "../../../vmstate/error.ts";
import { type ExitCode, exitCodes } from "../../exit-codes.ts";
import { ignorable, isOfTime } from "../../input/ignore.ts";
import { type Input, kindOf, refuse } from "../../input/open.ts";
import { withPair } from "../../input/pair.ts";
import { readWithProgress } from "../../input/read.ts";
import { select } from "../../input/select.ts";
import { byteOffset } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import { cprDiffText } from "../../view/cpr-diff.ts";
import { diffText } from "../../view/migration-diff.ts";
import { refuseNothing, verdict } from "./inspect-migration.ts";

interface DiffOptions {
  readonly json?: true;
  readonly section?: string;
  readonly field?: string;
  readonly offset?: number;
  readonly snapshot?: string;
  readonly ignore?: (typeof ignorable)[number];
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
    .addOption(
      new Option("--ignore <what>", "leave out what differs between two saves anyhow: clocks, ticks, timers").choices(
        ignorable,
      ),
    )
    .option("--offset <bytes>", "where the streams begin in their files", byteOffset)
    .option("--snapshot <name>", "the snapshot, if they are qcow2 images")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      [
        "",
        "Fds are matched by name and id; sections by name and instance. Guest RAM is compared by its blocks, not by",
        "its content.",
        "",
        "Exit codes: 0 the streams are the same, 1 they differ, 2 usage, 3 a stream cannot be read to its end,",
        "4 a file cannot be opened.",
        "",
        "Examples:",
        "  $ cprkit diff cpr-10.0.bin cpr-11.1.bin",
        "  $ cprkit diff before.mig after.mig --section '*virtio*'",
        "  $ cprkit diff before.mig after.mig --ignore time --section '{cpu(1),*/e1000}'",
      ].join("\n"),
    )
    .action(async (first: string, second: string, options: DiffOptions) => {
      process.exitCode = await withPair(first, second, options, (inputs) => diffStreams(inputs, options));
    });
}

async function diffStreams(inputs: readonly [Input, Input], options: DiffOptions): Promise<ExitCode> {
  const json = options.json === true;
  const cprStates = inputs.filter((input) => kindOf(input) === "cpr");
  if (cprStates.length === 2) return await diffCprStates(inputs, json);
  const [cprState] = cprStates;
  if (cprState !== undefined) {
    const reason = `${inputName(cprState.path)} is a CPR state, but the other file is not; both must be the same kind`;
    throw new CprkitError("ERR_BAD_MAGIC", reason);
  }
  for (const input of inputs) if (kindOf(input) === undefined) await refuse(input);
  const [a, b] = [await readOne(inputs[0], options), await readOne(inputs[1], options)];
  const all = diffMigrations(select(a, options), select(b, options));
  const differences = options.ignore === undefined ? all : all.filter((one) => !isOfTime(one));
  const ignored = all.length - differences.length;
  if (json) printJson({ differences: differencesToJson(differences), ignored });
  else print(diffText(differences, ignored));
  const verdicts = [verdict(a, json, inputs[0].path), verdict(b, json, inputs[1].path)];
  const ofDifferences = differences.length === 0 ? exitCodes.fine : exitCodes.finding;
  const bad = verdicts.find((code) => code > exitCodes.finding);
  return bad ?? refuseNothing([a, b], options, ofDifferences);
}

async function readOne(input: Input, { json }: DiffOptions): Promise<Migration> {
  try {
    return await readWithProgress(input, {}, json === true);
  } catch (error) {
    throw isCprkitError(error) ? error.within(inputName(input.path)) : error;
  }
}

async function diffCprStates([a, b]: readonly [Input, Input], json: boolean): Promise<ExitCode> {
  const report = async (input: Input) => {
    const bytes = await input.all(maxCprStateBytes);
    try {
      return reportCprState({ bytes });
    } catch (error) {
      throw isCprkitError(error) ? error.within(inputName(input.path)) : error;
    }
  };
  const differences = compareCprStates(await report(a), await report(b));
  if (json) printJson({ differences });
  else print(cprDiffText(differences));
  return differences.length === 0 ? exitCodes.fine : exitCodes.finding;
}
