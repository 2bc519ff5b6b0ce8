// Lets system calls fail, one place in the code at a time: first a run that only notes which call is made from where,
// then a run for each of these places in which the kernel refuses there.

import { constants } from "node:os";
import { interpose } from "../../src/linux/ffi/koffi.ts";
import type { Libc } from "../../src/linux/ffi/libc.ts";
import { isCprkitError } from "../../src/vmstate/index.ts";
import { expectAsManyFds, expectNoFdLeak } from "./fds.ts";

type Call = { [K in keyof Libc]: Libc[K] extends (...args: never[]) => unknown ? K : never }[keyof Libc];

/** A system call at one place in the code. */
interface Site {
  readonly call: Call;
  /** The functions of src/ that led to it, innermost first. */
  readonly from: string;
}

/** What the kernel may say to each call that can fail, in the sense of its man page. */
const refusals: Partial<Record<Call, keyof typeof constants.errno>> = {
  close: "EIO",
  fcntl: "EPERM",
  flock: "ENOLCK",
  ioctl: "EINVAL",
  sendmsg: "ENOBUFS",
  recvmsg: "ECONNRESET",
  socket: "EMFILE",
  socketpair: "EMFILE",
  bind: "EACCES",
  connect: "ECONNREFUSED",
  listen: "EOPNOTSUPP",
  accept: "EMFILE",
  // A security module may (socket_shutdown); ENOTCONN would only say that it has been done.
  shutdown: "EACCES",
  getsockopt: "ENOPROTOOPT",
  setsockopt: "ENOBUFS",
  pollNow: "ENOMEM",
  epollCreate: "EMFILE",
  epollAdd: "ENOSPC",
  epollModify: "ENOENT",
  epollDelete: "ENOENT",
  epollReady: "EBADF",
  memfdCreate: "EMFILE",
  eventfd: "EMFILE",
  prlimit: "EPERM",
  kcmpFile: "EPERM",
  pidfdOpen: "ENOSYS",
  setns: "EPERM",
  setAffinity: "EPERM",
  setNice: "EACCES",
  setScheduler: "EPERM",
  ioPriority: "EPERM",
  setIoPriority: "EPERM",
  pidfdSendSignal: "EPERM",
  pidfdGetfd: "EPERM",
};

/** What a sweep does beside its action. */
export interface SweepOptions {
  /** Looks at what the action has left, when the kernel refuses nothing any more; gives what is wrong. */
  readonly check?: () => Promise<readonly string[]>;
  /** Of the places found, those that are to be refused. Default: all. */
  readonly choose?: (sites: readonly Site[]) => readonly Site[];
  /** Whether a place is refused once, always, or both in turn. Default: both. */
  readonly times?: readonly ("once" | "always")[];
  /** "as many": one fd may take the place of another, as where a peer connects anew. Default: the same as before. */
  readonly fds?: "as many";
  /** How much longer than five undisturbed ones the action may take, in ms: its waits. Default 8,000. */
  readonly limitMs?: number;
}

/**
 * Refuses every system call that `action` makes, at each place from which it makes one, once and always. Gives what was
 * wrong: an error that is not a clear one of cprkit's, an fd left open or closed too many, too long a time, and what
 * `check` says.
 *
 * @param action resolves with the errors that it met
 */
export async function sweep(
  action: () => Promise<readonly unknown[]>,
  { check, choose = (sites) => sites, times = ["once", "always"], fds, limitMs = 8_000 }: SweepOptions = {},
): Promise<{ sites: readonly Site[]; failed: number; wrong: string[] }> {
  const began = performance.now();
  const sites = choose(await sitesOf(action));
  const longest = limitMs + 5 * (performance.now() - began);
  const wrong: string[] = [...((await check?.()) ?? [])];
  const watchFds = fds === "as many" ? expectAsManyFds : expectNoFdLeak;
  let failed = 0;
  for (const site of sites) {
    for (const how of times) {
      const name = `${site.call} ${how}, ${site.from}`;
      const start = performance.now();
      try {
        const { result } = await watchFds(() => refusing(site, how, action));
        if (result.length > 0) failed++;
        for (const error of result) if (!isClear(error)) wrong.push(`${name}: ${String(error)}`);
      } catch (error) {
        wrong.push(`${name}: ${String(error)}`);
      }
      const spent = performance.now() - start;
      if (spent > longest) wrong.push(`${name}: ${spent} ms`);
      for (const problem of (await check?.()) ?? []) wrong.push(`${name}: ${problem}`);
    }
  }
  return { sites, failed, wrong };
}

/** From now on the kernel refuses these calls, wherever they are made from. @returns ends that */
export function refuse(...calls: readonly Call[]): () => void {
  return watch((call) => calls.includes(call));
}

/** One of cprkit's own, in one line. */
function isClear(error: unknown): boolean {
  return isCprkitError(error) && error.message.length > 20 && !error.message.includes("\n");
}

/** Runs `action` and gives every place from which it makes a system call that can fail, in order of its first call. */
async function sitesOf(action: () => Promise<unknown>): Promise<Site[]> {
  const sites = new Map<string, Site>();
  const restore = watch((call) => {
    const from = placeOf();
    sites.set(`${call} ${from}`, { call, from });
    return false;
  });
  try {
    await action();
  } finally {
    restore();
  }
  return [...sites.values()];
}

/** Runs `action` while the kernel refuses at `site`: the first time, or always. Says whether it came there. */
async function refusing<T>(
  site: Site,
  how: "once" | "always",
  action: () => Promise<T>,
): Promise<{ readonly reached: boolean; readonly result: T }> {
  let reached = false;
  const restore = watch((call) => {
    if (call !== site.call || (reached && how === "once") || placeOf() !== site.from) return false;
    reached = true;
    return true;
  });
  try {
    const result = await action();
    return { reached, result };
  } finally {
    restore();
  }
}

function watch(refuse: (call: Call) => boolean): () => void {
  return interpose((real) => {
    const wrapped: Record<string, unknown> = { ...real };
    for (const call of Object.keys(refusals) as Call[]) {
      const work = real[call] as (...args: unknown[]) => unknown;
      wrapped[call] = (...args: unknown[]) => {
        if (!refuse(call)) return work(...args);
        // close(2) has closed the fd even when it says that writing what was left has failed.
        if (call === "close") work(...args);
        const answer = -constants.errno[refusals[call] ?? "EIO"];
        return call === "recvmsg" ? { result: answer, fds: [], controlTruncated: false } : answer;
      };
    }
    return wrapped as unknown as Libc;
  });
}

/** The functions of src/ on the stack, with their files: lines move too easily. */
function placeOf(): string {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 30;
  const stack = new Error().stack ?? "";
  Error.stackTraceLimit = stackTraceLimit;
  const frames = [...stack.matchAll(/at (?:async )?(?:new )?(\S+)? ?\(?[^()\n]*\/src\/([\w/-]+)\.ts:(\d+)/g)];
  return frames
    .slice(0, 4)
    .map(([, name = "", file, line]) => `${file}:${line} ${name}`)
    .join(" < ");
}
