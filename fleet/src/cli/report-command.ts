// report: what a rollout has come to, for people, programs, or as a page.

import { writeFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { readRollout, readVmDetails } from "../ledger/operator.ts";
import { firstFailure, page, pauses } from "../page/report.ts";
import { type CommonOptions, fleetCommand, withPool } from "./options.ts";
import { print, printJson } from "./output.ts";

interface ReportOptions extends CommonOptions {
  readonly html?: string;
}

export function reportCommand(): Command {
  return fleetCommand(
    "report",
    "Say what became of every VM of a rollout, how long guests stood still, and what failed first.",
    "report 11-1-20261130-2200 --html rollout.html",
  )
    .argument("<rollout>")
    .addOption(new Option("--html <file>", "write it as a page that needs nothing else"))
    .action((id: string, options: ReportOptions) =>
      withPool(options, async (pool) => {
        const rollout = await readRollout(pool, id);
        const vms = await readVmDetails(pool, id);
        if (options.html !== undefined) writeFileSync(options.html, page(rollout, vms));
        if (firstFailure(vms) !== undefined) process.exitCode = 1;
        if (options.json === true) printJson({ rollout, vms, pauses: pauses(vms), firstFailure: firstFailure(vms) });
        else if (options.html === undefined) showReport(rollout, vms);
      }),
    );
}

function showReport(
  { id, state, reason }: Awaited<ReturnType<typeof readRollout>>,
  vms: Awaited<ReturnType<typeof readVmDetails>>,
): void {
  print(`${id}: ${state}${reason === null ? "" : ` (${reason})`}`);
  for (const { wave, host, vm, state: how, before, after, downtime_ms: ms, code } of vms) {
    const from = before?.version ?? "?";
    const what = after?.version === undefined || after.version === from ? from : `${from} -> ${after.version}`;
    const pause = ms === null ? "" : `, ${ms.toFixed(1)} ms`;
    print(
      `  ${String(wave ?? "-").padStart(3)}  ${`${host}/${vm}`.padEnd(30)} ${how.padEnd(9)} ${what}${pause}${code === null ? "" : ` [${code}]`}`,
    );
  }
  const first = firstFailure(vms);
  if (first === undefined) return;
  print(`first failure: ${first.host}/${first.vm} [${first.code}] ${first.why ?? ""}`);
  for (const { what, remedy } of first.explained) print(`  ${what}. ${remedy}`);
}
