// `npm run bench`: how fast cprkit is on this machine, compared with C where the peers are built.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { interruptible } from "../../dist/cli/interrupt.js";
import { wholeNumber } from "../../dist/cli/options.js";
import { startProgress } from "../../dist/cli/progress.js";
import { describeMachine } from "./machine.ts";
import { rowIds } from "./rows.ts";
import { runBench } from "./run.ts";
import { benchText } from "./view.ts";

interface BenchCommandOptions {
  readonly only?: readonly string[];
  readonly sizes?: readonly number[];
  readonly repeats: number;
  readonly rounds: number;
  readonly peers?: string;
  readonly output?: string;
  readonly firstPeer?: true;
  readonly json?: true;
}

await new Command("bench")
  .description("Measure look-ups, codec and transfer on this machine, compared with C where the peers are built.")
  .addOption(new Option("--only <ids>", `comma-separated: ${rowIds.join(", ")}`).argParser(ids))
  .addOption(new Option("--sizes <list>", "only these numbers of fds, comma-separated").argParser(sizes))
  .addOption(new Option("--repeats <n>", "how often each side runs").argParser(wholeNumber(1, 100)).default(3))
  .addOption(new Option("--rounds <n>", "rounds each time").argParser(wholeNumber(1, 1000)).default(7))
  .addOption(new Option("--peers <folder>", "where the C peers are (default: those of this checkout)"))
  .addOption(new Option("-o, --output <folder>", "also write bench.json there"))
  .addOption(new Option("--first-peer", "only the first peer of each row"))
  .addOption(new Option("--json", "print the results as JSON"))
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  .addHelpText("after", "\nExample:\n  $ npm run bench -- --only find,fresh --sizes 540,7530")
  .action((options: BenchCommandOptions) => interruptible((signal) => runCommand(options, signal)))
  .parseAsync();

async function runCommand(options: BenchCommandOptions, signal: AbortSignal): Promise<void> {
  const json = options.json === true;
  const machine = describeMachine();
  const progress = startProgress("beginning", json);
  try {
    const { only, sizes, repeats, rounds, peers } = options;
    const result = await runBench({
      ...{ only, sizes, repeats, rounds, signal },
      peersFolder: peers,
      firstPeer: options.firstPeer === true,
      onStep: progress.step,
    });
    progress.stop();
    const text = `${JSON.stringify({ machine, repeats, rounds, ...result }, null, 2)}\n`;
    if (options.output !== undefined) {
      mkdirSync(options.output, { recursive: true });
      writeFileSync(join(options.output, "bench.json"), text);
    }
    process.stdout.write(json ? text : benchText(machine, result));
  } finally {
    progress.stop();
  }
}

function sizes(text: string): readonly number[] {
  return text.split(",").map(wholeNumber(1, 1_000_000));
}

function ids(text: string): readonly string[] {
  const wanted = text.split(",");
  const unknown = wanted.find((id) => !rowIds.includes(id));
  if (unknown !== undefined) throw new InvalidArgumentError(`there is no "${unknown}": ${rowIds.join(", ")}.`);
  return wanted;
}
