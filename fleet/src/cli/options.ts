// Options that the commands of a fleet share.

import { existsSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { type Config, readConfig } from "../config.ts";
import { FleetError } from "../error.ts";
import { closePool, makePool, type Pool } from "../ledger/pool.ts";

/** A database that does not answer for so long counts as away. */
const answerMs = 60_000;
const defaultFile = "/etc/cprkit/fleet.yaml";

export interface CommonOptions {
  readonly config?: string;
  readonly database?: string;
  readonly json?: true;
}

/** A command with the options that all have, and an example. */
export function fleetCommand(name: string, description: string, example: string): Command {
  return new Command(name)
    .description(description)
    .addOption(new Option("--config <file>", `database, certificates, host (default: ${defaultFile})`))
    .addOption(new Option("--database <url>", "in place of the file's"))
    .addOption(new Option("--json", "print JSON"))
    .addHelpText("after", `\nExample:\n  $ cprkit fleet ${example}`);
}

/** The configuration, with what the command line says in place of what the file does. */
export function configOf({ config: file, database }: CommonOptions): Config {
  const path = file ?? (existsSync(defaultFile) ? defaultFile : undefined);
  if (path === undefined && database === undefined) {
    throw new FleetError(
      "usage",
      `no database is named: give --config FILE or --database URL, or write ${defaultFile}`,
    );
  }
  const found = path === undefined ? undefined : readConfig(path);
  const of = found?.database ?? { url: "" };
  return { ...found, database: { ...of, url: database ?? of.url } };
}

/**
 * Runs `work` with connections to the database, which are closed at its end.
 *
 * @param isLong a statement may take its time, as where a schema is changed
 */
export async function withPool<T>(
  options: CommonOptions,
  work: (pool: Pool, config: Config) => Promise<T>,
  isLong = false,
): Promise<T> {
  const config = configOf(options);
  const pool = makePool(config.database, 3, "cprkit-fleet", isLong ? undefined : answerMs);
  try {
    return await work(pool, config);
  } finally {
    await closePool(pool);
  }
}

/** Parses a number of seconds. */
export function seconds(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= 86_400 * 7)) throw new InvalidArgumentError("expected a number of seconds.");
  return value;
}

/** Aborted by Ctrl-C and by SIGTERM. */
export function untilStopped(): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  return stop.signal;
}
