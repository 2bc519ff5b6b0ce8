// plan, start, pause, resume, abort, undo: what an operator does to rollouts.

import { type Command, Option } from "commander";
import { parseFile, rolloutId } from "../config.ts";
import { FleetError } from "../error.ts";
import { readVmDetails } from "../ledger/operator.ts";
import type { Pool } from "../ledger/pool.ts";
import { type Planned, planRollout } from "../operator/plan.ts";
import { abort, pause, resume, start } from "../operator/steer.ts";
import { type Policy, policySchema } from "../waves/policy.ts";
import { type CommonOptions, fleetCommand, seconds, untilStopped, withPool } from "./options.ts";
import { print, printError, printJson, tell } from "./output.ts";

interface PlanOptions extends CommonOptions {
  readonly release?: string;
  readonly id?: string;
  readonly policy?: string;
  readonly host?: readonly string[];
  readonly wait: number;
  readonly start?: true;
}

const planOptions = (command: Command) =>
  command
    .addOption(new Option("--id <id>", "the rollout's name (default: of the release and the time)"))
    .addOption(new Option("--policy <file>", "waves, limits, times: see docs/fleet.md"))
    .addOption(new Option("--host <name...>", "these hosts only (default: all)"))
    .addOption(new Option("--wait <seconds>", "how long answers are waited for").argParser(seconds).default(60));

export function planCommand(): Command {
  return planOptions(
    fleetCommand(
      "plan",
      "Ask every host what it could update, and freeze the answers into waves. Changes no VM.",
      "plan --release 11.1",
    ),
  )
    .addOption(new Option("--release <name>", "as the hosts' release files have it").makeOptionMandatory())
    .action((options: PlanOptions) =>
      withPool(options, (pool) => runPlan(pool, options, { release: options.release })),
    );
}

export function startCommand(): Command {
  return planOptions(
    fleetCommand("start", "Begin a planned rollout; with --release, plan it before.", "start 11-1-20261130-2200"),
  )
    .argument("[rollout]")
    .addOption(new Option("--release <name>", "plan a rollout of it and begin that"))
    .action((id: string | undefined, options: PlanOptions) =>
      withPool(options, async (pool) => {
        if ((id === undefined) === (options.release === undefined)) {
          throw new FleetError("usage", "name a planned rollout, or a release with --release");
        }
        if (id === undefined) return runPlan(pool, { ...options, start: true }, { release: options.release });
        await start(pool, id);
        tell(options, { id, state: "running" }, `${id} has begun`);
      }),
    );
}

export function undoCommand(): Command {
  return planOptions(
    fleetCommand(
      "undo",
      "Plan a rollout that brings back what ran before another one.",
      "undo 11-1-20261130-2200 --start",
    ),
  )
    .argument("<rollout>")
    .addOption(new Option("--start", "begin it as well"))
    .action((id: string, options: PlanOptions) => withPool(options, (pool) => runPlan(pool, options, { undoes: id })));
}

async function runPlan(
  pool: Pool,
  options: PlanOptions,
  what: { readonly release?: string | undefined; readonly undoes?: string },
) {
  const policy: Policy =
    options.policy === undefined ? policySchema.parse({}) : parseFile(options.policy, policySchema);
  const id = options.id ?? defaultId(what.undoes === undefined ? (what.release ?? "") : `undo-${what.undoes}`);
  if (!rolloutId.safeParse(id).success) {
    throw new FleetError(
      "usage",
      `${JSON.stringify(id)} is no name of a rollout: small letters, digits and -, 41 at most`,
    );
  }
  const planned = await planRollout(pool, {
    ...{ ...what, id, policy, hosts: options.host, waitMs: options.wait * 1000, signal: untilStopped() },
  });
  const vms = await readVmDetails(pool, id);
  const isAnswered = planned.silent.length === 0;
  const started = options.start === true && isAnswered && planned.waves.length > 0;
  if (started) await start(pool, id);
  const blocked = vms.filter(({ state }) => state === "refused");
  if (options.json === true) printJson({ ...planned, started, vms });
  else showPlan(planned, blocked, started);
  if (options.start === true && !isAnswered) {
    printError(
      `not begun: no answer from ${planned.silent.join(", ")}; \`cprkit fleet start ${id}\` begins without them`,
    );
  }
  if (planned.silent.length > 0 || blocked.length > 0) process.exitCode = 1;
}

function showPlan(
  { id, waves, refused, skipped, silent }: Planned,
  blocked: readonly { host: string; vm: string; code: string | null; why: string | null }[],
  started: boolean,
) {
  const sizes =
    waves.length === 0
      ? "no VM to update"
      : `${waves.length} waves of ${waves.join(", ")} VMs${started ? ", begun" : ""}`;
  print(`rollout ${id}: ${sizes}; ${refused} can't, ${skipped} need nothing`);
  for (const { host, vm, code, why } of blocked) print(`  ${host}/${vm}: [${code}] ${why}`);
  if (silent.length > 0) print(`  no answer from ${silent.join(", ")}: their VMs are not part of it`);
}

/** A name that sorts by time. */
function defaultId(of: string): string {
  const time = new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  return `${of
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")
    .slice(0, 24)}-${time}`;
}

export function pauseCommand(): Command {
  return fleetCommand("pause", "Begin no further VM; what is under way is finished.", "pause 11-1-20261130-2200")
    .argument("<rollout>")
    .addOption(new Option("--reason <text>", "for the ledger").default("paused by hand"))
    .action((id: string, options: CommonOptions & { readonly reason: string }) =>
      withPool(options, async (pool) => {
        await pause(pool, id, options.reason);
        tell(options, { id, state: "paused" }, `${id} is paused`);
      }),
    );
}

export function resumeCommand(): Command {
  return fleetCommand("resume", "Go on after a pause, a gate or a halt.", "resume 11-1-20261130-2200")
    .argument("<rollout>")
    .action((id: string, options: CommonOptions) =>
      withPool(options, async (pool) => {
        await resume(pool, id);
        tell(options, { id, state: "running" }, `${id} goes on`);
      }),
    );
}

interface AbortOptions extends CommonOptions {
  readonly wait: number;
}

export function abortCommand(): Command {
  return fleetCommand(
    "abort",
    "End a rollout. VMs that have not reached their switch are taken back, the others finished; waits for them.",
    "abort 11-1-20261130-2200",
  )
    .argument("<rollout>")
    .addOption(
      new Option("--wait <seconds>", "how long VMs that are under way are waited for").argParser(seconds).default(120),
    )
    .action((id: string, options: AbortOptions) =>
      withPool(options, async (pool) => {
        const inHand = await abort(pool, id, { waitMs: options.wait * 1000, signal: untilStopped() });
        if (inHand.length > 0) process.exitCode = 1;
        const rest = inHand.length === 0 ? "" : `; hosts still have in hand: ${inHand.join(", ")}`;
        tell(options, { id, state: "aborted", inHand }, `${id} is aborted${rest}`);
      }),
    );
}
