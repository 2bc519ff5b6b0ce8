// The command line: finds the command, loads only that one, and turns what it throws into one line and an exit code.

import { Command, CommanderError } from "commander";
import { isCprkitError } from "../vmstate/error.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";

type MakeCommand = () => Command;

/** Each command's file, loaded only when it is called: a cold start pays for one. */
const commands: Readonly<Record<string, () => Promise<MakeCommand>>> = {
  inspect: async () => (await import("./commands/inspect.ts")).inspectCommand,
  diff: async () => (await import("./commands/diff.ts")).diffCommand,
  check: async () => (await import("./commands/check.ts")).checkCommand,
  convert: async () => (await import("./commands/convert.ts")).convertCommand,
  tap: async () => (await import("./commands/tap.ts")).tapCommand,
  preflight: async () => (await import("./commands/preflight.ts")).preflightCommand,
  fds: async () => (await import("./commands/fds.ts")).fdsCommand,
  update: async () => (await import("./commands/update.ts")).updateCommand,
  status: async () => (await import("./commands/status.ts")).statusCommand,
  demo: async () => (await import("./commands/demo.ts")).demoCommand,
  bench: async () => (await import("./commands/bench.ts")).benchCommand,
};

/** Runs the command line and returns the exit code. Prints what the user should see; throws only for a bug. */
export async function run(argv: readonly string[]): Promise<number> {
  process.stdout.on("error", quietAboutClosedPipe);
  const asked = commands[argv[0] ?? ""];
  const program = new Command("cprkit")
    .description("QEMU CPR (live update): read, compare, translate and carry its states.")
    .exitOverride()
    .showSuggestionAfterError()
    .helpCommand(false)
    .addHelpText("after", "\nExit codes: 0 fine, 1 a finding, 2 usage, 3 bad input, 4 the system or QEMU refused.")
    .version(await version(argv), "-V, --version");
  for (const make of asked === undefined ? Object.values(commands) : [asked]) {
    const command = (await make())();
    program.addCommand(command.exitOverride());
  }
  try {
    if (argv.length === 0) program.help({ error: true });
    await program.parseAsync([...argv], { from: "user" });
    return Number(process.exitCode ?? exitCodes.fine);
  } catch (error) {
    return report(error, argv.includes("--json"));
  }
}

function report(error: unknown, json: boolean): number {
  // commander has printed its message already; --help and --version end here too.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.fine : exitCodes.usage;
  if (!isCprkitError(error)) throw error;
  process.stderr.write(json ? `${JSON.stringify({ error })}\n` : `cprkit: ${error.message}\n`);
  return exitCodeOf(error.code);
}

/** The package's version; read only when it is asked for. */
async function version(argv: readonly string[]): Promise<string> {
  if (!argv.includes("-V") && !argv.includes("--version")) return "";
  const { readFile } = await import("node:fs/promises");
  const { z } = await import("zod");
  const text = await readFile(new URL("../../package.json", import.meta.url), "utf8");
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}

/** `cprkit ... | head` is no error. */
function quietAboutClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
  process.exit(exitCodes.fine);
}
