// Asks a QEMU what it can answer: a command that it does not have, or refuses, is an answer, too.

import type { WaitOptions } from "../../linux/index.ts";
import { type CprkitError, isCprkitError } from "../../vmstate/error.ts";
import type { Qmp } from "../qmp/client.ts";
import type { QmpCommand, QmpReturn } from "../qmp/schema.ts";
import type { Machine } from "./schema.ts";

/** A QEMU to ask. */
export interface Asker {
  /** What the command returns; undefined when QEMU refuses it. @throws CprkitError as {@link Qmp.execute}, but for ERR_QMP_COMMAND */
  ask<C extends QmpCommand | (string & {})>(
    command: C,
    args?: Readonly<Record<string, unknown>>,
  ): Promise<QmpReturn<C> | undefined>;
  /** The same for what an older QEMU may not know: a refusal is not noted. */
  tryAsk: Asker["ask"];
  /** The same as `ask`, for what a program always answers alike: asked once. */
  askOnce: Asker["ask"];
  /** Text of the human monitor, "" if it refuses. */
  askHuman(line: string): Promise<string>;
  /** What was refused so far. */
  readonly unanswered: Machine["unanswered"];
}

/** @param fixed the answers of `askOnce` that are known, of the same program; new ones are added */
export function askerOf(qmp: Qmp, wait: WaitOptions, fixed = new Map<string, unknown>()): Asker {
  const unanswered: Machine["unanswered"] = [];
  const ask: Asker["ask"] = async (command, args) => {
    try {
      return await qmp.execute(command, args, wait);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      const { qmpClass = "", cause } = error;
      unanswered.push({ command, qmpClass, reason: (cause as { readonly desc?: string } | undefined)?.desc ?? "" });
      return undefined;
    }
  };
  const tryAsk: Asker["ask"] = async (command, args) => {
    try {
      return await qmp.execute(command, args, wait);
    } catch (error) {
      if (isRefusal(error)) return undefined;
      throw error;
    }
  };
  const askOnce: Asker["ask"] = async <C extends QmpCommand | (string & {})>(
    command: C,
    args?: Readonly<Record<string, unknown>>,
  ) => {
    const key = JSON.stringify([command, args]);
    const answer = (fixed.get(key) as QmpReturn<C> | undefined) ?? (await ask(command, args));
    if (answer !== undefined) fixed.set(key, answer);
    return answer;
  };
  return {
    ask,
    tryAsk,
    askOnce,
    unanswered,
    askHuman: async (line) => (await ask("human-monitor-command", { "command-line": line })) ?? "",
  };
}

/** Whether QEMU answered, and its answer was no. */
export function isRefusal(error: unknown): error is CprkitError {
  return isCprkitError(error, "ERR_QMP_COMMAND");
}
