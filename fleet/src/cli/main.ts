// `cprkit fleet …`: finds the command, and turns what it throws into one line and an exit code.

import { Command, CommanderError } from "commander";
import { isCprkitError } from "cprkit";
import { FleetError, messageOf } from "../error.ts";
import { printError } from "./output.ts";
import { reportCommand } from "./report-command.ts";
import {
  abortCommand,
  pauseCommand,
  planCommand,
  resumeCommand,
  startCommand,
  undoCommand,
} from "./rollout-commands.ts";
import { agentCommand, coordinatorCommand } from "./serve-commands.ts";
import { adoptCommand, hostCommand, migrateCommand } from "./setup-commands.ts";
import { statusCommand } from "./status-command.ts";
import { version } from "./version.ts";

/**
 * Runs the fleet's command line and returns the exit code: 0 fine, 1 a finding (something failed, or is left), 2 usage,
 * 4 the database, the system or the state of things refused.
 */
export async function run(argv: readonly string[]): Promise<number> {
  const program = fleetProgram();
  try {
    if (argv.length === 0) program.help({ error: true });
    await program.parseAsync([...argv], { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode !== 0 && error.code !== "commander.help") printError(error.message.replace(/^error: /, ""));
      return error.exitCode === 0 ? 0 : 2;
    }
    if (!(error instanceof FleetError) && !isCprkitError(error) && !isOfSystem(error)) {
      printError(`this is a bug in cprkit-fleet: ${error instanceof Error ? error.stack : String(error)}`);
      return 4;
    }
    printError(messageOf(error));
    return error instanceof FleetError && error.kind === "usage" ? 2 : 4;
  }
}

/** All commands. */
export function fleetProgram(): Command {
  const program = new Command("cprkit fleet")
    .description("Roll a new QEMU out over many hosts (package cprkit-fleet).")
    .version(version(), "-V, --version")
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .addHelpText(
      "after",
      `
Examples:
  $ cprkit fleet plan --release 11.1 --policy policy.yaml
  $ cprkit fleet start 11-1-20261130-2200
  $ cprkit fleet status 11-1-20261130-2200 --watch

Exit codes: 0 fine, 1 a finding, 2 usage, 4 the database or the system refused.`,
    );
  const commands = [
    ...[
      planCommand(),
      startCommand(),
      statusCommand(),
      pauseCommand(),
      resumeCommand(),
      abortCommand(),
      undoCommand(),
      reportCommand(),
    ],
    ...[coordinatorCommand(), agentCommand(), migrateCommand(), hostCommand(), adoptCommand()],
  ];
  for (const command of commands) program.addCommand(inherit(command));
  return program;
}

function inherit(command: Command): Command {
  command.exitOverride().configureOutput({ outputError: () => {} });
  for (const each of command.commands) inherit(each);
  return command;
}

/** What the database or the kernel said: both give a code, but for a database that is silent or gone (pg has only words). */
function isOfSystem(error: unknown): boolean {
  if (error instanceof AggregateError) return true;
  if (!(error instanceof Error)) return false;
  return (
    "code" in error ||
    "syscall" in error ||
    /^(query read timeout|timeout e|connection terminated)/i.test(error.message)
  );
}
