// status: how a rollout stands, or which there are.

import { setTimeout as sleep } from "node:timers/promises";
import { type Command, Option } from "commander";
import { listRollouts, readHosts, readRollout, readVmRows } from "../ledger/operator.ts";
import type { Pool } from "../ledger/pool.ts";
import { decide, isDead } from "../waves/next.ts";
import { type CommonOptions, fleetCommand, untilStopped, withPool } from "./options.ts";
import { print, printJson } from "./output.ts";

interface StatusOptions extends CommonOptions {
  readonly watch?: true;
}

export function statusCommand(): Command {
  return fleetCommand("status", "Say how a rollout stands, or list all of them.", "status 11-1-20261130-2200 --watch")
    .argument("[rollout]")
    .addOption(new Option("--watch", "until it is over, or waits for somebody"))
    .action((id: string | undefined, options: StatusOptions) =>
      withPool(options, (pool) => (id === undefined ? list(pool, options) : show(pool, id, options))),
    );
}

async function list(pool: Pool, { json }: StatusOptions): Promise<void> {
  const rollouts = await listRollouts(pool);
  if (json === true) printJson({ rollouts });
  else
    for (const { id, state, kind, release, who } of rollouts)
      print(`${id.padEnd(36)} ${state.padEnd(9)} ${kind} ${release}, ${who}`);
}

async function show(pool: Pool, id: string, { watch, json }: StatusOptions): Promise<void> {
  const signal = untilStopped();
  let before = "";
  for (;;) {
    const status = await readStatus(pool, id);
    const text = JSON.stringify(status);
    if (text !== before) {
      if (json === true) printJson(status);
      else showStatus(status);
    }
    before = text;
    if (status.state === "halted" || status.counts.failed + status.counts.lost > 0) process.exitCode = 1;
    if (watch !== true || signal.aborted || (status.state !== "running" && status.inHand === 0)) return;
    await sleep(1_000, undefined, { signal }).catch(() => undefined);
  }
}

async function readStatus(pool: Pool, id: string) {
  const rollout = await readRollout(pool, id);
  const [vms, { hosts, now }] = [await readVmRows(pool, id), await readHosts(pool)];
  const { waits } = decide({ rollout, vms, now, hosts: new Map(hosts.map((host) => [host.name, host])) });
  const count = (state: string) => vms.filter((vm) => vm.state === state).length;
  const taking = vms.filter(({ wave }) => wave !== null);
  const waves = [...new Set(taking.map(({ wave }) => wave ?? 0))].sort((a, b) => a - b);
  const ended = (wave: number) => taking.filter((vm) => vm.wave === wave && vm.ended_at !== null).length;
  const part = new Set(vms.map(({ host }) => host));
  return {
    ...{ id, kind: rollout.kind, release: rollout.release, state: rollout.state, reason: rollout.reason, waits },
    counts: {
      ...{ updated: count("updated"), failed: count("failed"), lost: count("lost"), planned: count("planned") },
      ...{ refused: count("refused"), skipped: count("skipped") },
    },
    inHand: count("queued") + count("claimed") + count("switching"),
    waves: waves.map((wave) => ({ wave, vms: taking.filter((vm) => vm.wave === wave).length, ended: ended(wave) })),
    dead: hosts.filter((host) => part.has(host.name) && isDead(host, now)).map(({ name }) => name),
  };
}

function showStatus({
  id,
  state,
  reason,
  waits,
  counts,
  inHand,
  waves,
  dead,
}: Awaited<ReturnType<typeof readStatus>>): void {
  const why = waits ?? reason;
  print(`${id}: ${state}${why === null || why === undefined ? "" : ` (${why})`}`);
  const { updated, failed, lost, planned, refused, skipped } = counts;
  print(
    `  ${updated} updated, ${failed} failed, ${lost} lost, ${inHand} under way, ${planned} to come; ${refused} can't, ${skipped} left out`,
  );
  print(`  waves: ${waves.map(({ wave, vms, ended }) => `${wave}: ${ended}/${vms}`).join("  ")}`);
  if (dead.length > 0) print(`  hosts that do not answer: ${dead.join(", ")}`);
}
