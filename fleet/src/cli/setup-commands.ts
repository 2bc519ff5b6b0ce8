// migrate, host: what the owner of the database does once.

import { Command, Option } from "commander";
import { hostName } from "../config.ts";
import { FleetError } from "../error.ts";
import { adopt, readHosts } from "../ledger/operator.ts";
import { addHost, addOperator, setUp } from "../ledger/setup.ts";
import { isDead } from "../waves/next.ts";
import { type CommonOptions, fleetCommand, withPool } from "./options.ts";
import { print, printJson, tell } from "./output.ts";

interface MigrateOptions extends CommonOptions {
  readonly operator?: string;
}

export function migrateCommand(): Command {
  return fleetCommand(
    "migrate",
    "Make or change the schemas in the database, as its owner. To be done before anything else, and with each new version.",
    "migrate --database postgresql://postgres@db.example.org/fleet --operator ops",
  )
    .addOption(new Option("--operator <role>", "also make this role, which may plan and steer rollouts"))
    .action((options: MigrateOptions) =>
      withPool(
        options,
        async (pool, config) => {
          const applied = await setUp(config, pool);
          if (options.operator !== undefined) await addOperator(pool, options.operator);
          tell(options, { applied }, applied.length === 0 ? "nothing to do" : `applied ${applied.join(", ")}`);
        },
        true,
      ),
    );
}

interface HostOptions extends CommonOptions {
  readonly rack?: string;
  readonly role?: string;
}

export function hostCommand(): Command {
  const command = new Command("host").description(
    "Make a host known, or list the hosts and when they were last heard of.",
  );
  command.addCommand(
    fleetCommand("add", "Make a host and its role known, as the database's owner.", "host add node-17 --rack r3")
      .argument("<name>")
      .addOption(new Option("--rack <rack>", "where it stands").default(""))
      .addOption(new Option("--role <role>", "as which its agent logs in (default: host-NAME)"))
      .action((name: string, options: HostOptions) =>
        withPool(options, async (pool) => {
          if (!hostName.safeParse(name).success)
            throw new FleetError("usage", `${JSON.stringify(name)} is no name of a host`);
          const role = options.role ?? `host-${name}`;
          await addHost(pool, { name, rack: options.rack ?? "", role });
          tell(options, { name, role }, `host ${name}: its agent logs in as ${role}`);
        }),
      ),
  );
  command.addCommand(
    fleetCommand(
      "list",
      "Say of each host when it was heard of, its agent's version and releases. 1 if one is dead or out of order.",
      "host list",
    ).action((options: CommonOptions) =>
      withPool(options, async (pool) => showHosts(await readHosts(pool), options.json === true)),
    ),
  );
  return command;
}

function showHosts({ hosts, now }: Awaited<ReturnType<typeof readHosts>>, json: boolean): void {
  const rows = hosts.map(({ name, rack, last_seen, in_order, versions }) => ({
    ...{ name, rack, lastSeen: last_seen, inOrder: in_order, versions },
    alive: !isDead({ last_seen, in_order }, now),
  }));
  if (rows.some(({ alive }) => !alive)) process.exitCode = 1;
  if (json) {
    printJson({ hosts: rows });
    return;
  }
  for (const { name, rack, lastSeen, inOrder, alive, versions } of rows) {
    const ago =
      lastSeen === null ? "never" : `${Math.max(0, Math.round((now.getTime() - lastSeen.getTime()) / 1000))} s ago`;
    const how = alive ? "alive" : inOrder ? "DEAD" : "OUT OF ORDER (see `cprkit fleet adopt`)";
    print(`${name.padEnd(20)} ${rack.padEnd(10)} ${how}, heard of ${ago}${whatRuns(versions)}`);
  }
}

/** What an agent says of itself: which is installed, its releases, or why its release file can't be used. */
function whatRuns({ agent, releases, fault }: Readonly<Record<string, unknown>>): string {
  if (agent === undefined) return "";
  const list = Array.isArray(releases) && releases.length > 0 ? ` with releases ${releases.join(", ")}` : "";
  return `; agent ${String(agent)}${list}${fault === undefined ? "" : `: ${String(fault)}`}`;
}

export function adoptCommand(): Command {
  return fleetCommand(
    "adopt",
    "Let a host take part again that remembers more than the ledger, after the database was restored.",
    "adopt node-17",
  )
    .argument("<host>")
    .action((host: string, options: CommonOptions) =>
      withPool(options, async (pool) => {
        await adopt(pool, host);
        tell(options, { host, adopted: true }, `host ${host} takes part again`);
      }),
    );
}
