// cprkit preflight: can this VM be updated, and what is in the way?

import { Command, Option } from "commander";
import type { Finding } from "../../../qemu/finding.ts";
import type { CopyEstimate } from "../../../qemu/preflight/copy-estimate.ts";
import type { PreflightReport, UpdateWay } from "../../../qemu/preflight/preflight.ts";
import type { UpdateModeName } from "../../../qemu/vm/binary.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import { counted, printable } from "../../../vmstate/shown/text.ts";
import { colours } from "../../colours.ts";
import { exitCodes } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import type { CodeLink } from "../../links.ts";
import { modeOption, wholeNumber } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import { startProgress } from "../../progress.ts";
import { fit } from "../../view/fit.ts";

interface PreflightCommandOptions {
  readonly qmp?: string;
  readonly pid?: number;
  readonly qemu?: string;
  readonly mode?: UpdateModeName;
  readonly stateDir?: string;
  readonly strict?: true;
  readonly json?: true;
}

export function preflightCommand(): Command {
  return new Command("preflight")
    .description("Say whether a running VM can be updated, and what is in the way. Changes nothing.")
    .argument("[command...]", "after --: the whole new command line, in place of the derived one")
    .addOption(new Option("--qmp <path>", "QMP socket of the running QEMU"))
    .addOption(new Option("--pid <pid>", "its process, instead of --qmp").argParser(wholeNumber(1, 2 ** 22)))
    .addOption(new Option("--qemu <program>", "the new QEMU (default: the path that the running one came from)"))
    .addOption(modeOption("how to update (default: as update chooses)"))
    .addOption(new Option("--state-dir <folder>", "where update would keep its journal, and cpr-reboot the state"))
    .addOption(new Option("--strict", "exit with 1 for warnings, too"))
    .addOption(new Option("--json", "print JSON"))
    .addHelpText(
      "after",
      `
Examples:
  $ cprkit preflight --qmp /run/vm1/qmp.sock --qemu /opt/qemu-11.1/bin/qemu-system-x86_64
  $ cprkit preflight --pid 4711 --mode cpr-exec --json

Exit code: 0 nothing blocks the update, 1 something does (with --strict: or there is a warning), 4 the VM could not be
asked. Each finding has a code that stays the same in every version: see docs/preflight.md.`,
    )
    .action((command: string[], options: PreflightCommandOptions) =>
      interruptible((signal) => runPreflight(command, options, signal)),
    );
}

async function runPreflight(given: string[], options: PreflightCommandOptions, signal: AbortSignal): Promise<void> {
  const { qmp, pid, qemu, mode, stateDir, strict, json } = options;
  const command = given.length === 0 ? undefined : given;
  if (qmp === undefined && pid === undefined) {
    throw new CprkitError("ERR_USAGE", "no VM named: give --qmp PATH or --pid PID");
  }
  const progress = startProgress("looking at the VM", json === true);
  const { preflight } = await import("../../../qemu/preflight/preflight.ts");
  let report: PreflightReport;
  try {
    report = await preflight({ qmp, pid }, { qemu, command, mode, stateDir, signal, onStep: progress.step });
  } finally {
    progress.stop();
  }
  if (json === true) printJson(report);
  else print(asText(report, await (await import("../../links.ts")).codeLink()));
  if (!report.ok || (strict === true && report.findings.length > 0)) process.exitCode = exitCodes.finding;
}

function asText({ vm, new: next, mode, findings, ways, copy, carried, ok }: PreflightReport, link: CodeLink): string {
  const blockers = findings.filter(({ severity }) => severity === "blocker").length;
  const warnings = findings.length - blockers;
  const verdict = ok ? colours.green("can be updated") : colours.red("can't be updated yet");
  const found =
    findings.length === 0 ? "nothing in the way" : `${counted(blockers, "blocker")}, ${counted(warnings, "warning")}`;
  return [
    fit(
      `VM       process ${vm.pid}, QEMU ${printable(vm.version)}, ${printable(vm.machine)}, ${printable(vm.runState)}; ${counted(vm.fds.open, "fd")}, CPR carries ${carriedText(vm.fds)}`,
      9,
    ),
    fit(`New      QEMU ${printable(next.version ?? "?")}, ${printable(next.program)}`, 9),
    `Mode     ${mode}`,
    "",
    ...findings.flatMap((finding) => findingLines(finding, link)),
    ...carried.map(({ what }) => fit(`carried  ${printable(what)}`, 9)),
    ...(carried.length === 0 ? [] : [""]),
    ...ways.map((way) => wayLine(way, link)),
    ...(copy === undefined ? [] : [copyLine(copy)]),
    fit(`This VM ${verdict}: ${found}.${ok ? "" : otherWays(ways)}`, 0),
    "",
  ].join("\n");
}

function carriedText({ carried, interrupts }: PreflightReport["vm"]["fds"]): string {
  return interrupts === 0 ? String(carried) : `${carried + interrupts} or so`;
}

function otherWays(ways: readonly UpdateWay[]): string {
  const free = ways.filter((way) => way.ok).map(({ mode }) => `--mode ${mode}`);
  return free.length === 0 ? "" : ` It can be with ${free.join(" or ")}.`;
}

function wayLine({ mode, ok, blockers }: UpdateWay, link: CodeLink): string {
  const label = `${mode === "copy" ? "by copy" : mode}:`.padEnd(14);
  const now = mode === "copy" ? "works now, and by CPR from then on" : "works";
  const codes = blockers.map((code) => link("preflight.md", code)).join(", ");
  return fit(`${label}${ok ? colours.green(now) : `in the way: ${codes}`}`, 14);
}

function copyLine({ memory, dirtyBytesPerSecond: dirty, bytesPerSecond, ms, downtimeLimitMs }: CopyEstimate): string {
  const mib = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  const time = ms === undefined ? "no end: it writes faster than is copied" : `about ${Math.ceil(ms / 1000)} s`;
  const writes = dirty === undefined ? "" : `, the guest writes ${mib(dirty)}/s`;
  const text = `a copy needs ${mib(memory)} more memory; ${time} (at ${mib(bytesPerSecond)}/s${writes}), a pause of up to ${downtimeLimitMs} ms`;
  return fit(`${" ".repeat(14)}${text}`, 14);
}

function findingLines({ code, severity, message, remedy }: Finding, link: CodeLink): string[] {
  const mark = severity === "blocker" ? colours.red("blocker") : colours.yellow("warning");
  return [
    `${mark}  ${link("preflight.md", code, colours.bold(code))}`,
    fit(`         ${printable(message)}`, 9),
    fit(`         remedy: ${printable(remedy)}`, 9),
    "",
  ];
}
