// A process that outlives cprkit must not be its child when others learn of it: systemd takes the process that a PIDFile=
// names for its own main process only if its parent is systemd, or nobody's (else it ends it by SIGKILL at once, and does
// not notice when it crashes). So setsid(1) stands between: while it does, its exit tells how the process has ended.

import { constants } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { endProcess } from "../../linux/process/end-process.ts";
import { type ProcessIdentity, processIdentity, processIds, readProcessFile } from "../../linux/process/proc.ts";
import { endedWithUs, hasOption } from "../vm/probe-mark.ts";

/** Words before a command, so that its process is a child of a setsid(1), which ends with us; none where that can't be had. */
export function betweenWords(): readonly string[] {
  setsid ??= ["/usr/bin/setsid", "/bin/setsid"].find((path) => hasOption(path, ", --wait")) ?? "";
  return setsid === "" ? [] : endedWithUs([setsid, ...options]);
}

/** Its path, "" without one that can wait (BusyBox). */
let setsid: string | undefined;
const options = ["--fork", "--wait", "--"];

/** The process that stands behind the setsid(1) with this pid; undefined if `hasEnded` says so before one was seen. */
export async function behind(pid: number, hasEnded: () => boolean): Promise<ProcessIdentity | undefined> {
  for (;;) {
    try {
      const [child] = childrenOf(pid);
      // In a session of its own only when it is something else than setsid.
      if (child !== undefined && !isBetween(child)) return processIdentity(child);
    } catch {
      // One of the two has ended.
    }
    if (hasEnded()) return undefined;
    await delay(1);
  }
}

/** Ends the setsid(1) before a process, if there is one: the kernel gives the process to init. @returns why not, in words */
export async function leaveToInit({ pid }: ProcessIdentity): Promise<string | undefined> {
  const parent = parentOf(pid);
  return parent === undefined || !isBetween(parent)
    ? undefined
    : endProcess(processIdentity(parent), ["SIGKILL"], 10_000);
}

/** Whether a process is a setsid(1). */
export function isBetween(pid: number): boolean {
  return readProcessFile(pid, "comm").trim() === "setsid";
}

/** How the process has ended, by the exit code of its setsid(1) and the last line that was written. */
export function endOf(code: number | null, signal: string | null, lastLine: string): string {
  if (signal !== null) return `was ended by ${signal}`;
  // wait(2)'s status; 0x80 says that there is a core file.
  const number = saysSignal.test(lastLine) ? (code ?? 0) & 0x7f : 0;
  const name = Object.entries(constants.signals).find(([, each]) => each === number)?.[0];
  return name === undefined ? `ended with status ${code}` : `was ended by ${name}`;
}

/** What setsid(1) writes when the process was ended by a signal. */
export const saysSignal = /^setsid: .*\d/;

/** proc_pid_task_children(5); a kernel without it is asked for the parent of each process. */
function childrenOf(pid: number): number[] {
  try {
    return readProcessFile(pid, `task/${pid}/children`).split(" ").filter(Boolean).map(Number);
  } catch {
    return processIds().filter((each) => parentOf(each) === pid);
  }
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s*(\d+)$/m.exec(readProcessFile(pid, "status"))?.[1]) || undefined;
  } catch {
    return undefined;
  }
}
