// cpr-exec: QEMU saves itself and executes the new program in its own process: same pid, same fds. There is no second
// process to go back to, so the new command is tried first, while the guest runs.

import { setTimeout as delay } from "node:timers/promises";
import { readExecCprState } from "../../../channel/index.ts";
import { describeFd, isRunning, listFds, readFdLink } from "../../../linux/index.ts";
import { CprkitError, isCprkitError } from "../../../vmstate/error.ts";
import { restoreTaps } from "../../handover/tap-settings.ts";
import { connectQmp, type Qmp } from "../../qmp/client.ts";
import { beginMigration, connectDestination, setSource, sourceQmp, startBeside } from "../beside.ts";
import { runHook } from "../hooks.ts";
import { removeNames } from "../names.ts";
import type { CarriedFd } from "../options.ts";
import { askPeer, expectServedBy, hasTakenOver, killPeer, type Peer, releasePeer } from "../peers/peer.ts";
import { beginToCompare, guardTaps, letGo, makeReady } from "../ready.ts";
import { meetingPlace, type Run } from "../run.ts";
import { hasReplaced } from "../settle.ts";
import { noteDowntime, switchOver, timeOf, waitFor } from "../switch-over.ts";

/** Runs the update up to the moment when the new program has the guest. @throws whatever went wrong; then settle */
export async function runExec(run: Run): Promise<void> {
  const stateFile = meetingPlace(run).there("vm");
  await run.step("rehearsed", () => rehearse(run));

  const command = [...execCommand(run), "-incoming", `file:${stateFile}`];
  await run.step("source-set", () => setSource(run, { mode: "cpr-exec", "cpr-exec-command": command }, ["events"]));
  await runHook(run, "beforePause");
  await run.step("before-switch", () => letGo(run));

  const source = await sourceQmp(run);
  guardTaps(run)();
  const stopped = await switchOver(run, source, async () => {
    await beginMigration(run, { uri: `file:${stateFile}` });
    run.fds = carriedFds(run.source.identity.pid);
  });
  await untilReplaced(run, source);
  await stopped();
  const { qmp, runningUs } = await untilRunning(run);
  run.source.qmp = qmp;
  noteDowntime(run, timeOf(source, "STOP"), runningUs);
}

/** The new command; behind a shell that goes back to where a daemon was started, for relative paths. */
function execCommand({ prepared }: Run): readonly string[] {
  const { command } = prepared.plan;
  const { cwd, isDaemon } = prepared.vm.process;
  return isDaemon ? ["/bin/sh", "-c", 'cd "$0" && exec "$@"', cwd, ...command] : command;
}

/** Starts the new command with names of its own, waits until its machine is built, and ends it. */
async function rehearse(run: Run): Promise<void> {
  const { prepared } = run;
  const { rehearsal } = prepared;
  if (rehearsal === undefined) {
    run.warnings.push("the new command could not be tried first: if it fails, the guest is lost");
    return;
  }
  if (rehearsal.leftOut.length > 0) {
    const names = rehearsal.leftOut.map(({ name }) => name).join(", ");
    run.warnings.push(`the new command was tried without ${names}, which only one process can open`);
  }
  const release = guardTaps(run);
  const trial = await startBeside(run, rehearsal, ["defer"]);
  beginToCompare(run);
  try {
    const qmp = await connectDestination(run, trial, trial.orExit);
    release();
    await trial.orExit(makeReady(run, trial, qmp, rehearsal.leftOut));
  } finally {
    release();
    await releasePeer(trial);
    const left = await killPeer(trial);
    if (left !== undefined) run.warnings.push(`${left}; it was only a trial and does not run the guest: end it`);
    run.warnings.push(...removeNames({ ...run.journal, moved: [...rehearsal.moved] }, run.source));
    run.warnings.push(...restoreTaps(run.source.identity, run.journal.taps ?? []));
  }
}

/** Looks at the state in QEMU's memory, if it is still there: it lives for the milliseconds until exec. */
function carriedFds(pid: number): CarriedFd[] | undefined {
  try {
    const memfd = listFds(pid).find((fd) => readFdLink(pid, fd).includes("memfd:QEMU_CPR_EXEC_STATE"));
    if (memfd === undefined) return undefined;
    const { state } = readExecCprState(pid, memfd);
    return state.entries().map(({ name, id, fd }) => ({ name, id, what: describeFd(fd, pid) }));
  } catch (error) {
    if (isCprkitError(error)) return undefined;
    throw error;
  }
}

async function untilReplaced(run: Run, source: Qmp): Promise<void> {
  let closed = false;
  const hungUp = source.closed.then(() => {
    closed = true;
  });
  const look = async () => {
    if (closed) return true;
    const here = await askOpen(run.source);
    if (here?.migration === "failed" || here?.migration === "cancelled") {
      throw new CprkitError("ERR_UPDATE_FAILED", `QEMU could not replace itself: ${here.error ?? here.migration}`);
    }
    return closed;
  };
  const waited = waitFor(run, [source], look);
  waited.catch(() => undefined);
  await Promise.race([hungUp, waited]);
  if (!isRunning(run.source.identity)) {
    throw new CprkitError("ERR_QEMU_EXITED", "QEMU ended in place of becoming the new program");
  }
  await run.step("replaced");
}

/** As askPeer, but never connects anew: that would be to the new program. */
async function askOpen(peer: Peer) {
  const { qmp } = peer;
  if (qmp === undefined) return undefined;
  try {
    const { status, "error-desc": error } = await qmp.execute("query-migrate", undefined, { timeoutMs: 5_000 });
    return { migration: status, error };
  } catch {
    return undefined;
  }
}

/**
 * A listening socket that QEMU got by fd stays open across exec, and with it the place behind cprkit's old session: there
 * the new program answers first. Where the socket was closed, that connection was, too.
 */
async function connectReplaced(run: Run, timeoutMs: number): Promise<Qmp> {
  const { place, source } = run;
  if (place === undefined) return connectQmp(source.qmpPath, { timeoutMs: 2_000 });
  run.place = undefined;
  return connectQmp({ fd: place }, { timeoutMs });
}

async function untilRunning(run: Run): Promise<{ readonly qmp: Qmp; readonly runningUs: number | undefined }> {
  const { source, timeoutMs, journal } = run;
  const end = performance.now() + timeoutMs;
  for (;;) {
    if (!isRunning(source.identity)) {
      throw new CprkitError("ERR_QEMU_EXITED", "the new program ended before it ran the guest");
    }
    if (performance.now() > end) {
      const what = hasReplaced(journal) ? "the new program" : "QEMU";
      throw new CprkitError("ERR_TIMEOUT", `${what} does not run the guest after ${timeoutMs} ms`);
    }
    try {
      const qmp = await expectServedBy(source, await connectReplaced(run, end - performance.now()));
      source.qmp = qmp;
      for (;;) {
        const state = await askPeer(source, 2_000);
        if (!state.alive || state.silence !== undefined || performance.now() > end) break;
        if (hasTakenOver(state)) {
          return { qmp, runningUs: timeOf(qmp, "RESUME") ?? (state.run === "running" ? Date.now() * 1000 : undefined) };
        }
        await delay(1);
      }
    } catch (error) {
      if (!isCprkitError(error)) throw error;
    }
    await delay(2);
  }
}
