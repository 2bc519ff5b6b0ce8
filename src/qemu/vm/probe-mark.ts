// A QEMU that is only asked what it can do is a child of cprkit and ends with it, unless cprkit is killed by SIGKILL at
// that moment. So the kernel is told to end it with its asker, where setpriv(1) can do that; and each carries in its
// environment who asked, and the next one who asks ends those whose asker is gone.

import { accessSync, constants, readFileSync, readlinkSync, statSync } from "node:fs";
import {
  closeFd,
  isRunning,
  openPidfd,
  type ProcessIdentity,
  processIdentity,
  signalPidfd,
} from "../../linux/index.ts";
import { processIds } from "../../linux/process/proc.ts";
import { isCprkitError } from "../../vmstate/error.ts";

/**
 * The command of a probe, so that the kernel ends it when this process ends (prctl(2), PR_SET_PDEATHSIG). As it is where
 * setpriv(1) can't do that (util-linux before 2.33, BusyBox), or for a program that can't be started: that is to be
 * seen by who starts it.
 */
export function endedWithUs(words: readonly string[]): readonly string[] {
  setpriv ??= findSetpriv();
  const [program = ""] = words;
  return setpriv === "" || !isProgram(program) ? words : [...deathSignal(setpriv), ...words];
}

/** Its path, "" if there is none. */
let setpriv: string | undefined;

function findSetpriv(): string {
  return ["/usr/bin/setpriv", "/bin/setpriv"].find((path) => hasOption(path, "--pdeathsig")) ?? "";
}

/**
 * Whether a program of util-linux has this option, by its own help, which is in its file: to start it would take as long
 * as some of the questions to a QEMU together. BusyBox has its help compressed, and neither option.
 */
export function hasOption(path: string, option: string): boolean {
  try {
    return isProgram(path) && readFileSync(path, "latin1").includes(option);
  } catch {
    return false;
  }
}

function deathSignal(path: string): readonly string[] {
  return [path, "--pdeathsig", "KILL", "--"];
}

function isProgram(path: string): boolean {
  if (!path.startsWith("/")) return false;
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The environment of a probe, with the mark of this process. */
export function withProbeMark(env: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  const { pid, startTime } = processIdentity("self");
  return { ...env, [variable]: `${pid}:${startTime}:${pidNamespace()}` };
}

/** Ends the probes of this user, for root of all, whose asker was killed. Never throws: it is not what the caller came for. */
export function endStrayProbes(): void {
  for (const pid of processIds()) {
    try {
      if (!isStray(pid)) continue;
      const identity = processIdentity(pid);
      // Once more: the pid may have become another process's before it was identified.
      if (isStray(pid)) endProbe(identity);
    } catch (error) {
      // Gone by now, or another user's.
      if (!(error instanceof Error && ("code" in error || isCprkitError(error)))) throw error;
    }
  }
}

/** A QEMU that is only asked. @throws {Error} of the system, for a process that may not be looked at */
export function isProbe(pid: number): boolean {
  return markOf(pid) !== null;
}

const variable = "CPRKIT_PROBE";

function isStray(probe: number): boolean {
  // Anybody can write such a mark, but only into a process of their own.
  const user = process.geteuid?.();
  if (user !== 0 && statSync(`/proc/${probe}`).uid !== user) return false;
  const [, pid, startTime, namespace] = markOf(probe) ?? [];
  if (pid === undefined || startTime === undefined || Number(pid) === process.pid) return false;
  // A container's cprkit is named by the container's pids. Its probe may be in a namespace further below.
  if (namespace !== pidNamespace()) return false;
  return !isRunning({ pid: Number(pid), startTime: BigInt(startTime) });
}

function markOf(pid: number): RegExpExecArray | null {
  return markPattern.exec(`\0${readFileSync(`/proc/${pid}/environ`, "utf8")}`);
}

const markPattern = new RegExp(`\\0${variable}=([1-9]\\d{0,9}):(\\d{1,20}):(\\d{1,20})\\0`);

/** The number in "pid:[N]" of ours. */
function pidNamespace(): string {
  return readlinkSync("/proc/self/ns/pid").replace(/\D/g, "");
}

function endProbe(identity: ProcessIdentity): void {
  const pidfd = openPidfd(identity);
  try {
    signalPidfd(pidfd, "SIGKILL");
  } finally {
    closeFd(pidfd);
  }
}
