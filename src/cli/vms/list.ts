// What `cprkit list` prints.

import { type ListedVm, listVms } from "../../qemu/many/list.ts";
import { counted, printable } from "../../vmstate/shown/text.ts";
import { type CodeLink, codeLink } from "../links.ts";
import { print, printJson } from "../output.ts";
import { startProgress } from "../progress.ts";
import { fit } from "../view/fit.ts";
import { table } from "../view/table.ts";

/** As commander gives them. */
export interface ListCommandOptions {
  readonly qemu?: string;
  readonly quick?: true;
  readonly json?: true;
}

/** Looks at the VMs and prints them. @throws CprkitError as {@link listVms} */
export async function runList({ qemu, quick, json }: ListCommandOptions, signal: AbortSignal): Promise<void> {
  const progress = startProgress("looking for VMs", json === true);
  let vms: ListedVm[];
  try {
    const onProgress = (done: number, all: number) => progress.step(`looking at VMs: ${done} of ${all}`);
    vms = await listVms({ qemu, quick, signal, onProgress });
  } finally {
    progress.stop();
  }
  if (json === true) printJson({ vms });
  else print(asText(vms, quick === true, await codeLink()));
}

function asText(vms: readonly ListedVm[], quick: boolean, link: CodeLink): string {
  if (vms.length === 0) return "no QEMU runs here\n";
  const head = ["PID", "USER", "NAME", "QEMU", "MACHINE", "STATE", "FDS", ...(quick ? [] : ["MODE"])];
  const rows = vms.map((vm) =>
    [
      String(vm.pid),
      vm.user ?? String(vm.uid),
      vm.name ?? "",
      vm.version ?? "",
      vm.machine ?? "",
      vm.runState ?? "",
      vm.fds === undefined ? "" : String(vm.fds),
      ...(quick ? [] : [modeText(vm)]),
    ].map(printable),
  );
  const notes = vms.flatMap((vm) => noteOf(vm, link).map((text) => `${fit(`${vm.pid}: ${text}`, 2)}\n`));
  return `${table(head, rows, ["PID", "FDS"])}${notes.length === 0 ? "" : `\n${notes.join("")}`}${hint(vms)}`;
}

function modeText({ mode, ways }: ListedVm): string {
  if (mode !== undefined) return mode;
  if (ways === undefined) return "?";
  const others = ways.filter(({ ok }) => ok).map((way) => way.mode);
  return others.length === 0 ? "none" : `only ${others.join(", ")}`;
}

/** What is in the way of a VM that can't be updated by CPR while it runs. */
function noteOf({ mode, ways = [], problem }: ListedVm, link: CodeLink): string[] {
  if (problem !== undefined) return [printable(problem.message)];
  if (mode !== undefined) return [];
  const codes = (blockers: readonly string[]) => blockers.map((code) => link("preflight.md", code)).join(", ");
  return ways.filter(({ ok }) => !ok).map((way) => `${way.mode} is blocked by ${codes(way.blockers)}`);
}

function hint(vms: readonly ListedVm[]): string {
  const can = vms.filter(({ mode }) => mode !== undefined);
  const [first] = can;
  if (first === undefined) return "";
  const how = `cprkit update --pid ${first.pid} --qemu PROGRAM [--dry-run]`;
  return `\n${fit(`${counted(can.length, "VM")} can be updated: ${how}`, 2)}\n`;
}
