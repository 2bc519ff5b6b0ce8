// The command line: finds the command, loads only that one, and turns what it throws into one line and an exit code.

import { readFileSync } from "node:fs";
import type { Command, CommanderError } from "commander";
import { exitWithoutKoffi } from "../linux/ffi/at-exit.ts";
import { requireLinux } from "../linux/system.ts";
import { CprkitError, isCprkitError } from "../vmstate/error.ts";
import type { WholeProgram } from "./commands/about/man.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { goOnWithoutReader, isTerminal, print, printBug, printError, printErrorJson, screenColumns } from "./output.ts";

type MakeCommand = (program: WholeProgram) => Command;

interface Entry {
  /** As the command itself says it: the list of commands is shown without loading them. A test compares. */
  readonly about: string;
  /** Its file, loaded only when it is called: a cold start pays for one. */
  readonly load: () => Promise<MakeCommand>;
}

export const commands: Readonly<Record<string, Entry>> = {
  inspect: {
    about:
      "Show what a stream holds: the fds of a CPR state, or the machine in a migration stream. Or a machine that runs.",
    load: async () => (await import("./commands/streams/inspect.ts")).inspectCommand,
  },
  diff: {
    about: "Show what differs between two streams: of CPR states the fds, of migration streams every device's fields.",
    load: async () => (await import("./commands/streams/diff.ts")).diffCommand,
  },
  check: {
    about:
      "Say whether a machine saved by one QEMU can be loaded by another: by two streams, or by descriptions alone.",
    load: async () => (await import("./commands/streams/check.ts")).checkCommand,
  },
  explain: {
    about: "Say why a load failed: QEMU's error, or a log of libvirt, KubeVirt or Proxmox VE, in plain words.",
    load: async () => (await import("./commands/streams/explain.ts")).explainCommand,
  },
  web: {
    about: "Show a stream, two streams, or a running VM on a page in the browser. Changes nothing.",
    load: async () => (await import("./commands/streams/web.ts")).webCommand,
  },
  convert: {
    about: "Write a CPR state in another ABI, or for another QEMU.",
    load: async () => (await import("./commands/streams/convert.ts")).convertCommand,
  },
  list: {
    about: "Say which VMs run here, and in which way each can be updated. Changes nothing.",
    load: async () => (await import("./commands/vms/list.ts")).listCommand,
  },
  tap: {
    about: "Sit on the CPR channel between two QEMUs: show each fd that passes, record the bytes, translate.",
    load: async () => (await import("./commands/vms/tap.ts")).tapCommand,
  },
  preflight: {
    about: "Say whether a running VM can be updated, and what is in the way. Changes nothing.",
    load: async () => (await import("./commands/vms/preflight.ts")).preflightCommand,
  },
  fds: {
    about: "List every fd of a running QEMU: what it is, and whether CPR would carry it, under which name.",
    load: async () => (await import("./commands/vms/fds.ts")).fdsCommand,
  },
  update: {
    about: "Replace the QEMU under a running guest. Until the new one runs the guest, any failure rolls back.",
    load: async () => (await import("./commands/vms/update.ts")).updateCommand,
  },
  ensure: {
    about: "See to it that a VM runs in this QEMU, however often it is asked: for programs and orchestrators.",
    load: async () => (await import("./commands/vms/ensure.ts")).ensureCommand,
  },
  status: {
    about: "Say which QEMU runs the guest: of one VM, or of every VM that cprkit has updated.",
    load: async () => (await import("./commands/vms/status.ts")).statusCommand,
  },
  fleet: {
    about: "Roll a new QEMU out over many hosts (package cprkit-fleet).",
    load: async () => (await import("./commands/about/fleet.ts")).fleetCommand,
  },
  doctor: {
    about: "Say what on this host helps or hinders updates: kernel, rights, limits, QEMUs. Changes nothing.",
    load: async () => (await import("./commands/about/doctor.ts")).doctorCommand,
  },
  schema: {
    about: "Print the JSON Schema of what a command prints with --json.",
    load: async () => (await import("./commands/about/schema.ts")).schemaCommand,
  },
  completion: {
    about: "Print a script that makes a shell complete cprkit's commands, options and values.",
    load: async () => (await import("./commands/about/completion.ts")).completionCommand,
  },
  man: {
    about: "Print a manual page, for `man -l -`; or write all of them.",
    load: async () => (await import("./commands/about/man.ts")).manCommand,
  },
  demo: {
    about:
      "See it work: a real VM whose QEMU is replaced while its guest counts; thousands of real fds, found in O(1).",
    load: async () => (await import("./commands/about/demo.ts")).demoCommand,
  },
};

const description = "QEMU CPR (live update): read, compare, translate and carry its states.";

/** For the commands that are about all commands. */
const wholeProgram: WholeProgram = {
  description,
  version,
  commands: () => Promise.all(Object.values(commands).map(async ({ load }) => (await load())(wholeProgram))),
};

/** Runs the command line and returns the exit code. Prints what the user should see; of a bug, where it happened. */
export async function run(argv: readonly string[]): Promise<number> {
  const [name = "", about = ""] = argv;
  process.on("exit", (code) => exitWithoutKoffi(Number(process.exitCode ?? code)));
  if (mustGoOn.has(name)) goOnWithoutReader();
  if (name === "-V" || name === "--version") {
    print(`${version()}\n`);
    return exitCodes.fine;
  }
  if (name === "fleet") return runFleetOf(argv);
  const { Command, CommanderError } = await import("commander");
  // What commander finds wrong is reported below, with everything else.
  const output = {
    outputError: () => {},
    writeOut: print,
    getOutHelpWidth: () => screenColumns() as number,
    getOutHasColors: () => false,
    getErrHelpWidth: () => (isTerminal("stderr") ? process.stderr.columns : undefined) as number,
    getErrHasColors: () => false,
  };
  const program = new Command("cprkit")
    .description(description)
    .exitOverride()
    .configureOutput(output)
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .showSuggestionAfterError()
    .helpCommand("help [command]", "the same as COMMAND --help, which has an example")
    .addHelpText("after", "\nExit codes: 0 fine, 1 a finding, 2 usage, 3 bad input, 4 the system or QEMU refused.")
    .version("", "-V, --version");
  const asked = entryOf(name) ?? (name === "help" ? entryOf(about) : undefined);
  for (const [each, entry] of Object.entries(commands)) {
    const command = entry === asked ? (await entry.load())(wholeProgram) : new Command(each).description(entry.about);
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
    const json = isJsonAsked(argv);
    if (!(error instanceof CommanderError)) return report(error, json);
    // --help ends here, too, and help that was printed because nothing was asked for.
    if (error.exitCode === 0) return exitCodes.fine;
    if (error.code !== "commander.help") say(usageError(error, entryOf(name) ? `cprkit ${name}` : "cprkit"), json);
    return exitCodes.usage;
  }
}

/** It has a command line of its own. */
async function runFleetOf(argv: readonly string[]): Promise<number> {
  try {
    requireLinux();
    return await (await import("./commands/about/fleet.ts")).runFleet(argv.slice(1));
  } catch (error) {
    return report(error, isJsonAsked(argv));
  }
}

function entryOf(name: string): Entry | undefined {
  return Object.hasOwn(commands, name) ? commands[name] : undefined;
}

function report(error: unknown, json: boolean): number {
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

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

const needsLinux: ReadonlySet<string> = new Set([
  "doctor",
  "list",
  "tap",
  "preflight",
  "fds",
  "update",
  "ensure",
  "status",
  "demo",
]);

/** Commands on which a VM depends: a reader that goes away must not end them. */
const mustGoOn: ReadonlySet<string> = new Set(["tap", "update", "ensure", "fleet"]);
