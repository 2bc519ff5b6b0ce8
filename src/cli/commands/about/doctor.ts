// cprkit doctor: what on this host helps or hinders.

import { Command, Option } from "commander";
import type { HostFact } from "../../../qemu/host/fact.ts";
import { counted, printable } from "../../../vmstate/shown/text.ts";
import { colours } from "../../colours.ts";
import { exitCodes } from "../../exit-codes.ts";
import { interruptible } from "../../interrupt.ts";
import { type CodeLink, codeLink } from "../../links.ts";
import { print, printJson } from "../../output.ts";
import { startProgress } from "../../progress.ts";
import { fit } from "../../view/fit.ts";

interface DoctorOptions {
  readonly qemu?: readonly string[];
  readonly json?: true;
}

export function doctorCommand(): Command {
  return new Command("doctor")
    .description("Say what on this host helps or hinders updates: kernel, rights, limits, QEMUs. Changes nothing.")
    .addOption(
      new Option("--qemu <program...>", "QEMUs in other places (without: in PATH, /usr, /opt, and those that run)"),
    )
    .addOption(new Option("--json", "print JSON"))
    .addHelpText(
      "after",
      `
Everything is asked of the system with the rights of this user, most of it by trying: system calls are made, programs are
started for a moment. A QEMU that another user could have changed is not started. Of one VM \`cprkit preflight\` says more.

Example:
  $ cprkit doctor

Exit code: 0 nothing hinders, 1 something does.`,
    )
    .action((options: DoctorOptions) => interruptible((signal) => runDoctor(options, signal)));
}

async function runDoctor({ qemu, json }: DoctorOptions, signal: AbortSignal): Promise<void> {
  const progress = startProgress("looking at this host", json === true);
  const { examineHost } = await import("../../../qemu/host/examine.ts");
  let facts: HostFact[];
  try {
    facts = await examineHost({ qemu, signal, onStep: progress.step });
  } finally {
    progress.stop();
  }
  const hindering = facts.filter(({ state }) => state === "hinders").length;
  if (hindering > 0) process.exitCode = exitCodes.finding;
  if (json === true) {
    printJson({ facts, ok: hindering === 0 });
    return;
  }
  const link = await codeLink();
  print(`${facts.flatMap((fact) => lines(fact, link)).join("\n")}\n\n${verdict(hindering)}\n`);
}

function lines({ subject, state, text, remedy }: HostFact, link: CodeLink): string[] {
  const paint = { fine: colours.green, note: colours.yellow, hinders: colours.red }[state];
  return [
    fit(
      `${paint(state.padEnd(7))}  ${link("host.md", subject)}${" ".repeat(13 - subject.length)}${printable(text)}`,
      indent,
    ),
    ...(remedy === undefined ? [] : [fit(`${" ".repeat(indent)}remedy: ${printable(remedy)}`, indent)]),
  ];
}

/** Where the text begins. */
const indent = 22;

function verdict(hindering: number): string {
  return hindering === 0
    ? colours.green("Nothing on this host hinders updates.")
    : colours.red(`${counted(hindering, "thing")} on this host ${hindering === 1 ? "hinders" : "hinder"} updates.`);
}
