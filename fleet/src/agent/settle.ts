// What was cut off: finished at an agent's start, without the database; and later, what the ledger says that this host has
// in hand while nobody here is at it.

import { isCprkitError } from "cprkit";
import { abortUpdate, allStatus, vmStatus } from "cprkit/qemu";
import { messageOf } from "../error.ts";
import { type Attempt, finish, type Result, readInHand } from "../ledger/host.ts";
import { type AgentContext, jobName, qmpOf } from "./act.ts";
import { runningOf } from "./ensure.ts";
import { readReleases } from "./releases.ts";

/**
 * At an agent's start, without the database: finishes every update that was cut off, forward where the new QEMU has the
 * guest, else back; and writes down what each attempt has come to.
 */
export async function settle(context: AgentContext): Promise<void> {
  const { state, onEvent } = context;
  const { vms, problems } = await allStatus({ stateDir: state.updates });
  for (const { folder, text } of problems) onEvent?.({ event: "note", text: `${folder}: ${text}` });
  for (const { qmp, update } of vms) {
    if (update?.outcome !== "unfinished") continue;
    const outcome = await abortUpdate({ qmp }, { stateDir: state.updates }).then(
      ({ outcome: how, why }) => `${how}: ${why}`,
      (error: unknown) => `can't be finished yet: ${messageOf(error)}`,
    );
    onEvent?.({ event: "note", text: `the update of ${qmp} that was cut off: ${outcome}` });
  }
  for (const kept of state.kept()) {
    if (kept.result !== undefined) continue;
    try {
      state.keep({ ...kept, result: await whatRuns(context, kept) });
    } catch (error) {
      // Nobody has the guest, or a QEMU does not answer: the job comes again, and says what it finds then.
      onEvent?.({ event: "note", text: `${kept.attempt.vm}: ${messageOf(error)}` });
    }
  }
}

type Kept = ReturnType<AgentContext["state"]["kept"]>[number];

async function whatRuns({ host, state }: AgentContext, { attempt, before }: Kept): Promise<Result> {
  const qmp = qmpOf(host, attempt.vm);
  const after = await runningOf({ qmp, releases: readReleases(host.releases), stateDir: state.updates });
  const done = after.release === attempt.release;
  const why = "the agent was restarted in the middle of it";
  return { state: done ? "updated" : "planned", why, before: done ? before : undefined, after };
}

const nameOf = (attempt: Attempt) => `${jobName(attempt)}/${attempt.epoch}`;

/**
 * What the ledger says that this host has in hand while no job here is at it, as after the ledger was restored, or when the
 * rollout was over before an agent came back: the agent looks what runs, and says so. Else such a VM would be in hand for ever.
 *
 * @param idle those that were so the last time: a job that is just being begun is left alone
 * @returns those that are so now, for the next time
 * @throws Error when the database can't be reached
 */
export async function sayForgotten(context: AgentContext, idle: ReadonlySet<string>): Promise<Set<string>> {
  const { pool, state, busy, onEvent } = context;
  const { epoch } = state.memory();
  const isLeft = (attempt: Attempt) => attempt.epoch <= epoch && !busy.has(jobName(attempt));
  const left = (await readInHand(pool)).filter(isLeft);
  for (const attempt of left.filter((each) => idle.has(nameOf(each)))) {
    const kept = state.kept().find((each) => each.attempt.epoch === attempt.epoch) ?? { attempt };
    const result = kept.result ?? (await lookAgain(context, kept));
    if (result === undefined || !isLeft(attempt)) continue;
    await finish(pool, attempt, result);
    state.forget(attempt);
    onEvent?.({ event: "note", text: `${nameOf(attempt)}: nobody was at it any more, it was ${result.state}` });
  }
  return new Set(left.map(nameOf));
}

/** @returns undefined when it can't be told now: a QEMU does not answer, or somebody is at it */
async function lookAgain(context: AgentContext, kept: Kept): Promise<Result | undefined> {
  const stateDir = context.state.updates;
  const qmp = qmpOf(context.host, kept.attempt.vm);
  try {
    const { update } = await vmStatus({ qmp }, { stateDir });
    if (update?.holder !== undefined) return undefined;
    if (update?.outcome === "unfinished") await abortUpdate({ qmp }, { stateDir });
    const { guest, text, update: last } = await vmStatus({ qmp }, { stateDir });
    if (guest === "nobody")
      return { state: last?.outcome === "lost" ? "lost" : "failed", code: "not-there", why: text };
    return await whatRuns(context, kept);
  } catch (error) {
    const isGone = isCprkitError(error) && (error.errno === "ENOENT" || error.errno === "ECONNREFUSED");
    return isGone ? { state: "failed", code: "not-there", why: messageOf(error) } : undefined;
  }
}
