// A QEMU that is only asked what it can do is a child of cprkit and ends with it, unless cprkit is killed by SIGKILL at
// that moment. So each carries in its environment who asked, and the next one who asks ends those whose asker is gone.

import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import {
  closeFd,
  isRunning,
  openPidfd,
  type ProcessIdentity,
  processIdentity,
  signalPidfd,
} from "../../linux/index.ts";
import { isCprkitError } from "../../vmstate/error.ts";

/** The environment of a probe, with the mark of this process. */
export function withProbeMark(env: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  const { pid, startTime } = processIdentity("self");
  return { ...env, [variable]: `${pid}:${startTime}` };
}

/** Ends the probes of this user, for root of all, whose asker was killed. Never throws: it is not what the caller came for. */
export function endStrayProbes(): void {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const identity = processIdentity(Number(name));
      if (isStray(name)) endProbe(identity);
    } catch (error) {
      // Gone by now, or another user's.
      if (!(error instanceof Error && ("code" in error || isCprkitError(error)))) throw error;
    }
  }
}

const variable = "CPRKIT_PROBE";

function isStray(name: string): boolean {
  // Anybody can write such a mark, but only into a process of their own.
  const user = process.geteuid?.();
  if (user !== 0 && statSync(`/proc/${name}`).uid !== user) return false;
  const [, pid, startTime] = markPattern.exec(`\0${readFileSync(`/proc/${name}/environ`, "latin1")}`) ?? [];
  if (pid === undefined || startTime === undefined || Number(pid) === process.pid) return false;
  // A container's probe names its asker by the container's pids.
  if (readlinkSync(`/proc/${name}/ns/pid`) !== readlinkSync("/proc/self/ns/pid")) return false;
  return !isRunning({ pid: Number(pid), startTime: BigInt(startTime) });
}

const markPattern = new RegExp(`\\0${variable}=([1-9]\\d{0,9}):(\\d{1,20})\\0`);

function endProbe(identity: ProcessIdentity): void {
  const pidfd = openPidfd(identity);
  try {
    signalPidfd(pidfd, "SIGKILL");
  } finally {
    closeFd(pidfd);
  }
}
