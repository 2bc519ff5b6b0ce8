// The command line: finds the command, loads only that one, and turns what it throws into one line and an exit code.

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { exitWithoutKoffi } from "../linux/ffi/koffi.ts";
import { requireLinux } from "../linux/system.ts";
import { CprkitError, isCprkitError } from "../vmstate/error.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { print, printBug, printError, printErrorJson } from "./output.ts";

type MakeCommand = () => Command;

/** Each command's file, loaded only when it is called: a cold start pays for one. */
const commands: Readonly<Record<string, () => Promise<MakeCommand>>> = {
  inspect: async () => (await import("./commands/streams/inspect.ts")).inspectCommand,
  diff: async () => (await import("./commands/streams/diff.ts")).diffCommand,
  check: async () => (await import("./commands/streams/check.ts")).checkCommand,
  explain: async () => (await import("./commands/streams/explain.ts")).explainCommand,
  convert: async () => (await import("./commands/streams/convert.ts")).convertCommand,
  list: async () => (await import("./commands/vms/list.ts")).listCommand,
  tap: async () => (await import("./commands/vms/tap.ts")).tapCommand,
  preflight: async () => (await import("./commands/vms/preflight.ts")).preflightCommand,
  fds: async () => (await import("./commands/vms/fds.ts")).fdsCommand,
  update: async () => (await import("./commands/vms/update.ts")).updateCommand,
  status: async () => (await import("./commands/vms/status.ts")).statusCommand,
  schema: async () => (await import("./commands/about/schema.ts")).schemaCommand,
  demo: async () => (await import("./commands/about/demo.ts")).demoCommand,
};

/** Runs the command line and returns the exit code. Prints what the user should see; of a bug, where it happened. */
export async function run(argv: readonly string[]): Promise<number> {
  const name = argv[0] ?? "";
  surviveClosedOutput(mustGoOn.has(name));
  const asked = Object.hasOwn(commands, name) ? commands[name] : undefined;
  // What commander finds wrong is reported below, with everything else.
  const output = { outputError: () => {}, writeOut: print };
  const program = new Command("cprkit")
    .description("QEMU CPR (live update): read, compare, translate and carry its states.")
    .exitOverride()
    .configureOutput(output)
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .showSuggestionAfterError()
    .helpCommand("help [command]", "the same as COMMAND --help, which has an example")
    .addHelpText("after", "\nExit codes: 0 fine, 1 a finding, 2 usage, 3 bad input, 4 the system or QEMU refused.")
    .version(version(argv), "-V, --version");
  const needed = isVersion(argv) ? [] : asked === undefined ? Object.values(commands) : [asked];
  for (const make of needed) {
    const command = (await make())();
    program.addCommand(command.exitOverride().configureOutput(output));
  }
  try {
    if (argv.length === 0) program.help({ error: true });
    program.hook("preAction", (_, action) => {
      if (needsLinux.has(action.name())) requireLinux();
    });
    await program.parseAsync([...argv], { from: "user" });
    return Number(process.exitCode ?? exitCodes.fine);
  } catch (error) {
    return report(error, isJsonAsked(argv), asked === undefined ? "cprkit" : `cprkit ${name}`);
  }
}

function report(error: unknown, json: boolean, command: string): number {
  if (error instanceof CommanderError) {
    // --help and --version end here, too, and help that was printed because nothing was asked for.
    if (error.exitCode === 0) return exitCodes.fine;
    if (error.code !== "commander.help") say(usageError(error, command), json);
    return exitCodes.usage;
  }
  const known = isCprkitError(error) ? error : systemError(error);
  if (known === undefined) {
    printBug(error);
    return exitCodes.refused;
  }
  say(known, json);
  return exitCodeOf(known.code);
}

function say(error: CprkitError, json: boolean): void {
  if (json) printErrorJson(error);
  else printError(error.message);
}

function usageError({ message }: CommanderError, command: string): CprkitError {
  const reason = message
    .replace(/^error: /, "")
    .replaceAll("\n", " ")
    .replace(/\.$/, "");
  return new CprkitError("ERR_USAGE", `${reason}; \`${command} --help\` shows the usage`);
}

/** What the system refused, such as a folder that can't be created: not a bug of cprkit. */
function systemError(error: unknown): CprkitError | undefined {
  if (!(error instanceof Error) || !("syscall" in error)) return undefined;
  return new CprkitError("ERR_FILE", error.message, { cause: error });
}

function isJsonAsked(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end < 0 ? argv.length : end).includes("--json");
}

/** Nothing but the version is asked for: no command needs to be loaded. */
function isVersion([first]: readonly string[]): boolean {
  return first === "-V" || first === "--version";
}

/** The package's version; read only when it is asked for. */
function version(argv: readonly string[]): string {
  if (!isVersion(argv)) return "";
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

const needsLinux: ReadonlySet<string> = new Set(["list", "tap", "preflight", "fds", "update", "status", "demo"]);

/** Commands on which a VM depends: a reader that goes away must not end them. */
const mustGoOn: ReadonlySet<string> = new Set(["tap", "update"]);

/**
 * `cprkit ... | head` is not an error; a full disk is one, exit code 4. Both end the command, unless `goOn`. A terminal
 * that is gone shows no messages any more, but ends nothing.
 */
function surviveClosedOutput(goOn: boolean): void {
  process.on("exit", (code) => exitWithoutKoffi(Number(process.exitCode ?? code)));
  process.stderr.on("error", () => {});
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    const refused = error.code !== "EPIPE";
    if (refused) {
      printError(`cannot write standard output: ${error.message}`);
      process.prependListener("exit", () => {
        process.exitCode = exitCodes.refused;
      });
    }
    if (!goOn) process.exit(refused ? exitCodes.refused : exitCodes.fine);
  });
}
