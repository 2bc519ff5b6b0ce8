// The agent of a host: one process that finishes what was cut off, says that the host lives, and does the jobs of the
// host's queue, as many side by side as the host allows.

import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { makeTurns } from "cprkit/qemu";
import type { Config } from "../config.ts";
import { jobs, queueOf, serve } from "../engine.ts";
import { FleetError, messageOf } from "../error.ts";
import { heartbeat } from "../ledger/host.ts";
import { closePool, makePool } from "../ledger/pool.ts";
import { type AgentContext, act, report, retryMs } from "./act.ts";
import { plan } from "./plan.ts";
import { readReleases } from "./releases.ts";
import { sayForgotten, settle } from "./settle.ts";
import { openState } from "./state.ts";

/** A host is heard of so often. */
const heartbeatMs = 5_000;
/** A database that does not answer for so long counts as away: no job hangs with it. */
const answerMs = 10_000;

export interface AgentOptions {
  readonly signal: AbortSignal;
  readonly version: string;
  readonly onEvent?: AgentContext["onEvent"];
  readonly onStep?: AgentContext["onStep"];
}

/**
 * Runs until the signal: an update that has not reached its switch is taken back then, another one finished.
 *
 * @throws FleetError "refused" when another agent of this host runs, "usage" when the configuration names no host
 */
export async function runAgent(config: Config, { signal, version, onEvent, onStep }: AgentOptions): Promise<void> {
  const { host } = config;
  if (host === undefined) throw new FleetError("usage", 'the configuration names no "host"');
  const state = openState(host.stateDir);
  // One for the engine, one for the question before the switch and the heartbeat.
  const pool = makePool(config.database, 2, `cprkit-fleet agent ${host.name}`, answerMs);
  const context: AgentContext = { host, pool, state, busy: new Set(), turns: makeTurns(), signal, onEvent, onStep };
  const note = (text: string) => onEvent?.({ event: "note", text });
  let serving: (() => Promise<void>) | undefined;
  try {
    await settle(context);
    note("ready: what was cut off is finished");
    const alive = keepAlive(context, version, note);
    while (!signal.aborted && serving === undefined) {
      try {
        serving = await serve(config, pool, {
          ...{ id: host.name, queue: queueOf(host.name), pollMs: config.pollMs ?? 1_000 },
          concurrency: host.atOnce ?? availableParallelism(),
          work: {
            [jobs.update]: (rollout = "", vm = "") => act(context, rollout, vm),
            [jobs.plan]: (rollout = "") => plan(context, rollout),
          },
        });
        note(`serves ${queueOf(host.name)}`);
      } catch (error) {
        note(`the database: ${messageOf(error)}`);
        await sleep(retryMs, undefined, { signal }).catch(() => undefined);
      }
    }
    await alive;
  } finally {
    await serving?.();
    await report(context).catch(() => undefined);
    await closePool(pool);
    state.close();
  }
}

/** Until the signal; what the ledger has not heard it hears as soon as it is there again. */
async function keepAlive(context: AgentContext, version: string, note: (text: string) => void) {
  const { pool, state, host, signal } = context;
  let before = "";
  let idle: ReadonlySet<string> = new Set();
  const say = (text: string) => {
    if (text !== before && text !== "") note(text);
    before = text;
  };
  while (signal?.aborted !== true) {
    try {
      const versions = { agent: version, node: process.versions.node, ...releasesOf(host.releases) };
      const { isKnown, memory, inHand } = await heartbeat(pool, state.memory(), versions);
      if (isKnown) state.remember(memory);
      const fault = versions.fault ?? "";
      say(isKnown ? fault : `the ledger does not know what this host remembers: \`cprkit fleet adopt ${host.name}\``);
      await report(context);
      idle = isKnown && inHand > 0 ? await sayForgotten(context, idle) : new Set();
    } catch (error) {
      say(messageOf(error));
    }
    await sleep(heartbeatMs, undefined, { signal }).catch(() => undefined);
  }
}

/** A host whose release file is not to be trusted lives all the same; its VMs can take no part. */
function releasesOf(path: string): { readonly releases: readonly string[]; readonly fault?: string } {
  try {
    return { releases: readReleases(path).map(({ name }) => name) };
  } catch (error) {
    return { releases: [], fault: messageOf(error) };
  }
}
