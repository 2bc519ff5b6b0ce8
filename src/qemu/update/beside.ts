// The two QEMUs of an update before the guest is stopped: the old one prepared, the new one started at the same time.

import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { listeningUnixSockets } from "../../linux/index.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import type { Handed } from "../handover/desk.ts";
import { shutDoors, untilShut } from "../handover/doors.ts";
import { ownMonitorWords } from "../handover/sockets.ts";
import { takeFds } from "../handover/take.ts";
import { namespaceKinds, namespacesOf } from "../namespaces/kinds.ts";
import { connectQmp, type Qmp } from "../qmp/client.ts";
import { moreRights, readCredentials } from "../vm/credentials.ts";
import { firstGivenFd } from "../vm/launcher.ts";
import { readVmProcess } from "../vm/process.ts";
import { type Destination, startDestination } from "./peers/destination.ts";
import { markOf } from "./peers/marked.ts";
import { expectServedBy, hasEnded, type Peer } from "./peers/peer.ts";
import { startWatcher } from "./peers/watcher.ts";
import type { Prepared } from "./plan.ts";
import { saveJournal } from "./record/journal.ts";
import { meetingPlace, type Run, throwIfAborted } from "./run.ts";

/** The source's monitor. @throws CprkitError ERR_QEMU_EXITED when it has hung up */
export async function sourceQmp({ source }: Run): Promise<Qmp> {
  const { qmp } = source;
  if (qmp !== undefined && !(await hasEnded(qmp))) return qmp;
  throw new CprkitError(
    "ERR_QEMU_EXITED",
    `the old QEMU (pid ${source.identity.pid}) has closed its monitor: it has ended`,
  );
}

/**
 * Sets mode and capabilities on a QEMU, then asks whether anything in it blocks the update.
 *
 * @param unwanted capabilities to be off, where this QEMU has them on
 */
export async function setSource(
  run: Run,
  parameters: Readonly<Record<string, unknown>>,
  capabilities: readonly string[],
  unwanted: readonly string[] = [],
): Promise<void> {
  const qmp = await sourceQmp(run);
  const wait = { signal: run.options.signal, timeoutMs: run.timeoutMs };
  const { capabilities: present, parameters: before = {} } = run.journal.settings;
  const off = [pausing, ...unwanted].filter((name) => present[name] === true);
  const list = [...switchedOn(capabilities), ...off.map((capability) => ({ capability, state: false }))];
  // QEMU does them in order; what the first has changed is given back also if it refuses a later one.
  const set = qmp.execute("migrate-set-capabilities", { capabilities: list }, wait);
  // Meant for the network: the guest stands still for as long as its devices' state takes.
  const local = {
    ...("max-bandwidth" in before ? { "max-bandwidth": unlimited } : {}),
    ...(before["tls-creds"] ? { "tls-creds": "" } : {}),
  };
  const [, , { "blocked-reasons": blockers = [] }] = await Promise.all([
    set,
    qmp.execute("migrate-set-parameters", { ...local, ...parameters }, wait),
    qmp.execute("query-migrate", undefined, wait),
  ]);
  if (blockers.length > 0) {
    throw new CprkitError("ERR_UPDATE_REFUSED", `QEMU says that this VM can't be updated: ${blockers.join("; ")}`);
  }
}

/** Has the source begin the update's migration, and notes that it is this one's: nobody else's is ever cancelled. */
export async function beginMigration(run: Run, args: Readonly<Record<string, unknown>>): Promise<void> {
  const { journal, prepared, timeoutMs, options } = run;
  const source = await sourceQmp(run);
  journal.begun = true;
  try {
    await source.execute("migrate", args, { signal: options.signal, timeoutMs });
  } catch (error) {
    if (isCprkitError(error, "ERR_QMP_COMMAND")) {
      // Another client's may be under way.
      journal.begun = false;
      saveJournal(prepared.folder, journal);
    }
    throw error;
  }
}

/** It would hold the guest, stopped, until somebody says "migrate-continue". */
const pausing = "pause-before-switchover";

/** Bytes a second. */
const unlimited = 2 ** 40;

export function switchedOn(names: readonly string[]): { capability: string; state: boolean }[] {
  return names.map((capability) => ({ capability, state: true }));
}

/** What is started beside the running QEMU: its command, its QMP socket, and the fds that its words name. */
export interface Beside {
  readonly command: readonly string[];
  /** undefined: cprkit gives it one of its own. */
  readonly qmp: string | undefined;
  readonly handed: readonly Handed[];
}

/** Starts the new QEMU, or a trial of it, with the given -incoming options. @throws CprkitError as `takeFds` */
export async function startBeside(run: Run, beside: Beside, incoming: readonly string[]): Promise<Destination> {
  const { prepared, journal, source, options, timeoutMs } = run;
  const { command: words, qmp, handed } = beside;
  const taken = takeFds(source.identity, handed);
  try {
    const doors = await shutDoors(prepared.vm, handed, run.place, { timeoutMs, signal: options.signal });
    run.doors.push(...doors);
    const own = qmp === undefined ? meetingPlace(run) : undefined;
    const command = [...words, ...(own === undefined ? [] : ownMonitorWords(own.there("q")))];
    const holders = doors.map(({ holder }) => holder);
    if (holders.length > 0) journal.doors = holders.map((_, at) => firstGivenFd + taken.fds.length + at);
    // From here on a door's.
    if (holders.some((end) => end === run.place)) run.place = undefined;
    const watcher = holders.length === 0 ? undefined : startWatcher();
    run.over.signal.addEventListener("abort", () => watcher?.dismiss(), { once: true });
    run.watcher = watcher;
    const started = await startDestination({
      like: prepared.vm.process,
      attributes: prepared.machine.process,
      launcher: prepared.launcher,
      command: [...command, ...incoming.flatMap((value) => ["-incoming", value])],
      env: { ...prepared.env, ...markOf(journal) },
      log: journal.log,
      qmpPath: qmp ?? own?.here("q") ?? "",
      given: [...taken.fds, ...holders],
    });
    watcher?.watch(started.identity.pid);
    return started;
  } finally {
    taken.close();
  }
}

/** The new QEMU of an update that has two. */
export function besideOf({ plan, destinationQmp, handed }: Prepared): Beside {
  return { command: plan.command, qmp: destinationQmp, handed };
}

/** Notes the destination, so that a later cprkit finds it. */
export function adopt(run: Run, destination: Destination): void {
  run.destination = destination;
  const { pid, startTime } = destination.identity;
  run.journal.destination = {
    pid,
    startTime: String(startTime),
    qmp: destination.qmpPath,
    version: run.prepared.plan.to,
  };
}

/**
 * Waits until somebody listens on the path, as we and as the new QEMU call it. Never connects: the first connection is the
 * only one that counts. The kernel's list of all sockets is asked for only when there is one on the path.
 */
export async function untilListening(
  path: { readonly here: string; readonly there: string },
  { identity: { pid } }: Peer,
  run: Run,
): Promise<void> {
  const { here, there } = path;
  const end = performance.now() + run.timeoutMs;
  while (!existsSync(here) || !listeningUnixSockets(pid).some((socket) => socket.path === there)) {
    throwIfAborted(run.options.signal, "listening");
    if (performance.now() > end) {
      throw new CprkitError("ERR_TIMEOUT", `the new QEMU did not listen on ${there} within ${run.timeoutMs} ms`);
    }
    await delay(2, undefined, { signal: run.over.signal });
  }
}

/** Connects to the destination's monitor, waiting for it; `guard` says when to give up, and no session is left then. */
export async function connectDestination(
  run: Run,
  destination: Destination,
  guard: (work: Promise<Qmp>) => Promise<Qmp>,
): Promise<Qmp> {
  const { timeoutMs, options } = run;
  const given = new AbortController();
  const signal = options.signal === undefined ? given.signal : AbortSignal.any([options.signal, given.signal]);
  try {
    const qmp = await guard(connectQmp(destination.qmpPath, { waitMs: timeoutMs, timeoutMs, signal }));
    destination.qmp = await expectServedBy(destination, qmp);
    expectOwnRights(run, destination);
    // From then on the new QEMU holds them itself.
    const shut = untilShut(readVmProcess(destination.identity.pid), run.doors, { timeoutMs, signal });
    const ready = await guard(shut.then(() => qmp));
    run.watcher?.dismiss();
    return ready;
  } catch (error) {
    // A session that came about later would hold the one place at the monitor.
    given.abort();
    throw error;
  }
}

/** The new QEMU must not have got rights that the old one does not have, and must live in its namespaces. */
function expectOwnRights({ prepared, options }: Run, { identity }: Destination): void {
  const [here, there] = [namespacesOf(prepared.vm.process.identity.pid), namespacesOf(identity.pid)];
  const others = namespaceKinds.filter((kind) => here[kind] !== there[kind]);
  if (others.length > 0 && options.allow?.includes("namespace") !== true) {
    const text = `the new QEMU is in other namespaces than the old one: ${others.join(", ")}`;
    throw new CprkitError("ERR_UPDATE_REFUSED", `[namespace] ${text}`);
  }
  const more = moreRights(readCredentials(identity.pid), prepared.vm.process.credentials);
  if (more.length === 0 || options.allow?.includes("rights") === true) return;
  throw new CprkitError("ERR_UPDATE_REFUSED", `the new QEMU has got more rights than the old one: ${more.join("; ")}`);
}
