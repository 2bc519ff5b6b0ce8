// What `cprkit ensure` does once its words are understood.

import { type Ensured, type EnsureResult, ensureUpdated } from "../../qemu/ensure/ensure.ts";
import type { UpdateModeName } from "../../qemu/vm/binary.ts";
import { printable } from "../../vmstate/shown/text.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { print, printError, printJson } from "../output.ts";
import { startProgress } from "../progress.ts";
import { stepTexts } from "./show.ts";

/** As commander gives them. */
export interface EnsureCommandOptions {
  readonly qmp?: string;
  readonly pid?: number;
  readonly qemu: string;
  readonly key?: string;
  readonly wait?: number;
  readonly mode?: UpdateModeName;
  readonly timeout?: number;
  readonly stateDir?: string;
  readonly json?: true;
}

const codes: Readonly<Record<EnsureResult, ExitCode>> = {
  updated: exitCodes.fine,
  "nothing-to-do": exitCodes.fine,
  refused: exitCodes.finding,
  "try-again": exitCodes.refused,
  lost: exitCodes.lost,
};

/** @throws CprkitError as ensureUpdated */
export async function runEnsure(options: EnsureCommandOptions, signal: AbortSignal): Promise<void> {
  const { qmp, pid, qemu, key, wait, mode, timeout, stateDir, json = false } = options;
  const progress = startProgress("looking at the VM", json);
  let answer: Ensured;
  try {
    answer = await ensureUpdated(
      { qmp, pid },
      {
        ...{ qemu, key, mode, stateDir, signal },
        waitMs: wait === undefined ? undefined : wait * 1000,
        timeoutMs: timeout === undefined ? undefined : timeout * 1000,
        onStep: (step) => progress.step(stepTexts[step]),
      },
    );
  } finally {
    progress.stop();
  }
  process.exitCode = codes[answer.result];
  if (json) printJson(answer);
  else if (process.exitCode === exitCodes.fine) print(`${answer.result}: ${printable(answer.text)}\n`);
  else printError(`${answer.result}: ${answer.text}`);
}
