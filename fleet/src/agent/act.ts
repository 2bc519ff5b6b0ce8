// One job: a VM shall run a release. The job's words are only names; whether anything is done the ledger says, twice: when
// the VM is taken in hand, and just before the switch.

import { setTimeout as sleep } from "node:timers/promises";
import { isCprkitError } from "cprkit";
import type { Turns, UpdateReport, UpdateStep } from "cprkit/qemu";
import { type HostConfig, vmName } from "../config.ts";
import { FleetError, messageOf } from "../error.ts";
import { type Attempt, claim, fence, finish, type Result } from "../ledger/host.ts";
import type { Pool } from "../ledger/pool.ts";
import { failSpan, inSpan, type Span, stepSpans } from "../watch/spans.ts";
import { codeIn, ensure } from "./ensure.ts";
import { readRelease, readReleases } from "./releases.ts";
import type { AgentState } from "./state.ts";

export interface AgentContext {
  readonly host: HostConfig;
  readonly pool: Pool;
  readonly state: AgentState;
  /** Jobs of this process that are under way, by {@link jobName}. */
  readonly busy: Set<string>;
  /** No two VMs of this host are in the switch at the same time. */
  readonly turns: Turns;
  readonly signal?: AbortSignal | undefined;
  /** Told what happens. */
  readonly onEvent?: ((event: AgentEvent) => void) | undefined;
  /** For each step of an update, waited for. */
  readonly onStep?: ((step: UpdateStep) => void | Promise<void>) | undefined;
}

export type AgentEvent =
  | { readonly event: "begun" | "refused"; readonly vm: string; readonly rollout: string; readonly text: string }
  | { readonly event: "ended"; readonly vm: string; readonly rollout: string; readonly result: Result }
  | { readonly event: "note"; readonly text: string };

/** After the database was away. */
export const retryMs = 1_000;
/** The ledger's answer before the switch is waited for so long; then the update is taken back. */
const fenceMs = 2_000;

/** Where a VM's monitor is. @throws FleetError "usage" when the name is none */
export function qmpOf(host: HostConfig, vm: string): string {
  if (!vmName.safeParse(vm).success) throw new FleetError("usage", `${JSON.stringify(vm)} is no name of a VM`);
  return host.qmp.replace("{vm}", vm);
}

export const jobName = ({ rollout, vm }: Pick<Attempt, "rollout" | "vm">) => `${rollout}/${vm}`;

/** Does one job. @returns what became of it, for the engine's own record */
export async function act(context: AgentContext, rollout: string, vm: string): Promise<{ readonly did: string }> {
  qmpOf(context.host, vm);
  const name = jobName({ rollout, vm });
  context.busy.add(name);
  try {
    return await doJob(context, rollout, vm);
  } finally {
    context.busy.delete(name);
  }
}

async function doJob(context: AgentContext, rollout: string, vm: string): Promise<{ readonly did: string }> {
  const { host, pool, state, onEvent } = context;
  await report(context).catch(() => undefined);
  const attempt = await whenAnswered(context, () => claim(pool, { rollout, vm }, state.memory()));
  if ("why" in attempt) {
    onEvent?.({ event: "refused", vm, rollout, text: attempt.why });
    return { did: `nothing: ${attempt.why}` };
  }
  try {
    state.remember({ ...state.memory(), epoch: attempt.epoch });
    // What an earlier attempt at it has come to, this one finds out.
    for (const old of state.kept())
      if (old.attempt.rollout === rollout && old.attempt.vm === vm) state.forget(old.attempt);
    state.keep({ attempt });
  } catch (error) {
    // Such as a full disk: nothing was done, and nobody would ever say so.
    await finish(pool, attempt, { state: "planned", why: messageOf(error) }).catch(() => undefined);
    throw error;
  }
  onEvent?.({ event: "begun", vm, rollout, text: `release ${attempt.release}, epoch ${attempt.epoch}` });
  const result = await inSpan(
    "update",
    { rollout, vm, host: host.name, release: attempt.release },
    async (span) => {
      const done = await carryOut(context, attempt, span);
      span.setAttribute("did", done.state);
      if (done.state === "failed" || done.state === "lost") failSpan(span, `[${done.code}] ${done.why}`);
      return done;
    },
    attempt.trace,
  );
  const kept = state.kept().find((each) => each.attempt.epoch === attempt.epoch);
  state.keep({ ...kept, attempt, result });
  onEvent?.({ event: "ended", vm, rollout, result });
  // If the database is away, this is said later.
  await report(context).catch(() => undefined);
  return { did: result.state };
}

async function carryOut(context: AgentContext, attempt: Attempt, span: Span): Promise<Result> {
  const { host, pool, state, turns, signal, onStep } = context;
  const qmp = qmpOf(host, attempt.vm);
  let before: Result["before"];
  let refusal: string | undefined;
  const steps = stepSpans(span);
  try {
    const release = readRelease(host.releases, attempt.release);
    const { result, code, text, after, report } = await ensure({
      ...{ qmp, release, releases: readReleases(host.releases), stateDir: state.updates, signal },
      ...{ turns, maxPauseMs: attempt.maxPauseMs },
      onFound: (running) => {
        before = running;
        state.keep({ attempt, before });
      },
      onStep: async (step) => {
        steps.reached(step);
        await onStep?.(step);
        if (step !== "before-switch") return;
        refusal = await askBeforeSwitch(pool, attempt);
        if (refusal !== undefined) throw new FleetError("refused", refusal);
      },
    });
    if (result === "updated") {
      return { state: "updated", before, after, downtimeMs: report?.downtimeMs, report: report && summary(report) };
    }
    // An earlier attempt has done it; what ran before that the ledger knows from the plan.
    if (result === "nothing-to-do") return { state: "updated", why: text, after };
    steps.failed(text);
    if (result === "failed" && (refusal !== undefined || signal?.aborted === true)) {
      return { state: "planned", why: refusal ?? text, before, after };
    }
    return { state: result, code, why: text, before, after };
  } catch (error) {
    steps.failed(messageOf(error));
    const isStopped = refusal !== undefined || signal?.aborted === true;
    return { state: isStopped ? "planned" : "failed", code: codeOf(error), why: messageOf(error), before };
  }
}

/**
 * A database that is away when a job begins is waited for: a job that fails is over, and the coordinator would have to ask
 * anew. So it does when the agent is ended meanwhile.
 */
async function whenAnswered<T>({ signal, onEvent }: AgentContext, ask: () => Promise<T>): Promise<T> {
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await ask();
    } catch (error) {
      if (isFirst) onEvent?.({ event: "note", text: `the ledger can't be asked: ${messageOf(error)}` });
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
      if (signal?.aborted === true) throw error;
    }
  }
}

/** @returns why the switch must not be, or undefined */
async function askBeforeSwitch(pool: Pool, attempt: Attempt): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`the ledger did not answer within ${fenceMs} ms`), fenceMs);
  });
  const asked = fence(pool, attempt).catch((error: unknown) => `the ledger can't be asked: ${messageOf(error)}`);
  const answer = await Promise.race([asked, late]);
  clearTimeout(timer);
  return answer;
}

/** The code of what was thrown. */
export function codeOf(error: unknown): string {
  return isCprkitError(error) ? codeIn(error) : error instanceof FleetError ? "refused-by-host" : "unknown";
}

/** What is worth keeping of cprkit's report. */
function summary({ mode, from, to, sourcePid, pid, totalMs, warnings, phases }: UpdateReport): Record<string, unknown> {
  return { mode, from, to, sourcePid, pid, totalMs, warnings, phases };
}

const reporting = new WeakMap<AgentState, Promise<void>>();

/** Tells the ledger what it has not heard yet, one after the other. @throws Error when the database can't be reached */
export function report(context: AgentContext): Promise<void> {
  const before = reporting.get(context.state) ?? Promise.resolve();
  const mine = before.catch(() => undefined).then(() => reportKept(context));
  reporting.set(context.state, mine);
  return mine;
}

async function reportKept({ pool, state, onEvent }: AgentContext): Promise<void> {
  for (const { attempt, result } of state.kept()) {
    if (result === undefined) continue;
    const isKnown = await finish(pool, attempt, result);
    state.forget(attempt);
    if (isKnown) continue;
    const text = `${attempt.rollout}, ${attempt.vm}, epoch ${attempt.epoch}: the ledger knows of no such attempt, it was ${result.state}`;
    onEvent?.({ event: "note", text });
  }
}
