// Starts the new QEMU as a process that outlives cprkit, and tells when it ends.

import type { ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { isRunning, type ProcessIdentity, processIdentity } from "../../../linux/index.ts";
import { CprkitError, isCprkitError } from "../../../vmstate/error.ts";
import { behind, betweenWords, endOf } from "../../attributes/parent.ts";
import { giveAtStart } from "../../attributes/threads.ts";
import type { Machine } from "../../machine/schema.ts";
import { throughRootOf } from "../../namespaces/paths.ts";
import { spawnLike, startLike } from "../../vm/launcher.ts";
import type { VmProcess } from "../../vm/process.ts";
import { lastLine, lastLines } from "./log.ts";
import type { Peer } from "./peer.ts";

/** A QEMU that this process started. */
export interface Destination extends Peer {
  /** Its exit, in words: "ended with status 1". */
  readonly exited: Promise<string>;
  /** The last of what it printed, in one line. */
  said(): string;
  /** Settles as `work` does, but rejects as soon as the process has ended. */
  orExit<T>(work: Promise<T>): Promise<T>;
}

export interface StartOptions {
  /** The running QEMU: the new one gets its rights and no more. */
  readonly like: VmProcess;
  /** What the kernel holds of it now: the new one begins with the same. */
  readonly attributes: Machine["process"];
  /** Words that give it what else it needs, before its command. */
  readonly launcher: readonly string[];
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Gets stdout and stderr. */
  readonly log: string;
  readonly qmpPath: string;
  /** Fds that it inherits, at the numbers from `firstGivenFd` on. They stay the caller's. */
  readonly given?: readonly number[];
}

/**
 * Starts it in a session of its own, its output in the log, nothing to read.
 *
 * @throws CprkitError ERR_QEMU_NOT_FOUND, ERR_FILE
 */
export async function startDestination(options: StartOptions): Promise<Destination> {
  const { like, attributes, launcher, command, env, log, qmpPath, given = [] } = options;
  const [program = ""] = command;
  const between = betweenWords();
  const start = startLike(like, { words: command, env }, [...between, ...launcher]);
  let output: number | undefined;
  let child: ChildProcess;
  try {
    output = openLog(log);
    child = spawnLike(start, { stdio: ["ignore", output, output], given, detached: true });
  } finally {
    if (output !== undefined) closeSync(output);
    start.close();
  }
  const { pid } = child;
  // At once: this process has not yet been told of an end, so even a zombie is still there to be identified.
  const own = pid === undefined ? undefined : processIdentity(pid);
  const exited = new Promise<string>((resolve) => {
    child.once("exit", (code, signal) => resolve(endOf(code, signal, lastLine(log))));
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => {
      reject(new CprkitError("ERR_QEMU_NOT_FOUND", `${program} can't be started: ${cause.message}`, { cause }));
    });
  });
  // It must not keep cprkit alive: it lives on when cprkit is done.
  child.unref();
  if (own === undefined) throw new CprkitError("ERR_QEMU_NOT_FOUND", `${program} has no process id`);
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const identity = between.length === 0 ? own : await behind(own.pid, hasEnded);
  if (identity === undefined) throw endedEarly(await exited, log);
  giveAtStart(identity.pid, attributes);
  const said = () => lastLines(log);
  return {
    identity,
    qmpPath: throughRootOf(qmpPath, like.identity.pid, identity.pid),
    qmp: undefined,
    exited,
    said,
    orExit: (work) => raceWithExit(work, exited, identity, log),
  };
}

async function raceWithExit<T>(
  work: Promise<T>,
  exited: Promise<string>,
  identity: ProcessIdentity,
  log: string,
): Promise<T> {
  // What it has printed is read only if its end was first.
  const first = await Promise.race([
    exited.then((how) => ({ how })),
    work.then(
      (value) => ({ value }),
      async (error: unknown) => {
        // One that ends closes its monitor first, and can't be looked at any more: what it has printed says why.
        if (isCprkitError(error, "ERR_QEMU_EXITED") || !isRunning(identity)) {
          const how = await Promise.race([exited, delay(1_000)]);
          if (how !== undefined) return { how };
        }
        throw error;
      },
    ),
  ]);
  if ("how" in first) throw endedEarly(first.how, log);
  return first.value;
}

function endedEarly(how: string, log: string): CprkitError {
  const said = lastLines(log);
  const text = said === "" ? " and said nothing" : `: ${said}; its log is ${log}`;
  return new CprkitError("ERR_QEMU_EXITED", `the new QEMU ${how}${text}`);
}

function openLog(log: string): number {
  try {
    return openSync(log, "a", 0o600);
  } catch (cause) {
    throw new CprkitError("ERR_FILE", `${log}: the new QEMU's log can't be opened: ${String(cause)}`, { cause });
  }
}
