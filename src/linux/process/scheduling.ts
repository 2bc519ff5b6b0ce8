// How a thread is scheduled (sched(7), ioprio_set(2)): read from /proc, given to a thread of another process.

import { isCprkitError } from "../../vmstate/error.ts";
import { libc } from "../ffi/koffi.ts";
import { readProcessFile } from "./proc.ts";

/** What the kernel knows of a thread's scheduling. */
export interface Scheduling {
  /** Allowed CPUs, as the kernel lists them: "0-3,8". */
  readonly cpus: string;
  readonly nice: number;
  /** Number of the policy: 0 normal, 1 FIFO, 2 round robin, 3 batch, 5 idle, 6 deadline. */
  readonly policy: number;
  readonly realtimePriority: number;
  /** Class in the bits from 13 on, and priority; 0 if the kernel does not say. */
  readonly ioPriority: number;
}

/** @throws CprkitError ERR_SYSCALL when the thread is gone or may not be looked at */
export function readScheduling(pid: number, tid: number): Scheduling {
  const status = readProcessFile(pid, `task/${tid}/status`);
  const stat = readProcessFile(pid, `task/${tid}/stat`);
  // The name in parentheses may hold anything (proc_pid_stat(5)); fields are counted from 1, the third comes after it.
  const field = (number: number) => Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[number - 3]);
  return {
    cpus: /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "",
    nice: field(19),
    policy: field(41),
    realtimePriority: field(40),
    ioPriority: Math.max(libc().ioPriority(tid), 0),
  };
}

/**
 * Gives a thread what differs, as far as the kernel lets us: read it again to see.
 *
 * @throws CprkitError as {@link readScheduling}
 */
export function setScheduling(pid: number, tid: number, wanted: Scheduling): void {
  const c = libc();
  const is = readScheduling(pid, tid);
  if (is.cpus !== wanted.cpus) c.setAffinity(tid, parseCpus(wanted.cpus));
  if (is.policy !== wanted.policy || is.realtimePriority !== wanted.realtimePriority) {
    c.setScheduler(tid, wanted.policy, wanted.realtimePriority);
  }
  if (is.nice !== wanted.nice) c.setNice(tid, wanted.nice);
  if (is.ioPriority !== wanted.ioPriority) c.setIoPriority(tid, wanted.ioPriority);
}

/**
 * Has this process's main thread go before all that are scheduled normally, where the kernel lets us (CAP_SYS_NICE). What
 * it starts meanwhile does not inherit that. Only for work that sleeps most of the time. Never throws.
 *
 * @returns to be called when that is over
 */
export function goFirst(): () => void {
  const { pid } = process;
  const c = libc();
  if (policyOf(pid) !== normal || c.setScheduler(pid, fifo | resetOnFork, 1) < 0) return () => undefined;
  return () => c.setScheduler(pid, normal, 0);
}

function policyOf(pid: number): number | undefined {
  try {
    return readScheduling(pid, pid).policy;
  } catch (error) {
    if (isCprkitError(error)) return undefined;
    throw error;
  }
}

const normal = 0;
const fifo = 1;
const resetOnFork = 0x40000000;

/** "0-3,8" as a bit for each CPU. */
function parseCpus(list: string): Uint8Array {
  const ranges = list.split(",").map((range) => range.split("-").map(Number));
  const last = Math.max(...ranges.map(([from = 0, to = from]) => to));
  const mask = new Uint8Array(Math.ceil((last + 1) / 64) * 8);
  for (const [from = 0, to = from] of ranges) {
    for (let cpu = from; cpu <= to; cpu++) mask[cpu >> 3] = (mask[cpu >> 3] ?? 0) | (1 << (cpu & 7));
  }
  return mask;
}
