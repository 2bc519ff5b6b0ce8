// Waiting until an fd is readable, writable or hung up, without blocking the event loop.

import { CprkitError } from "../../vmstate/error.ts";
import { asFd } from "../as-fd.ts";
import { libc } from "../ffi/koffi.ts";
import { systemError } from "../system-error.ts";
import { checkTimeout, type WaitOptions } from "./options.ts";
import { addWaiter, pollBits } from "./poller.ts";
import { waitFor } from "./wait-for.ts";

/** What the kernel said of the fd when the wait ended (poll(2)): of what was asked for, and of hangup and error always. */
export interface Readiness {
  /** POLLIN: a read returns at once, with data or the end of the stream. */
  readonly readable: boolean;
  /** POLLOUT: a write of at least a byte returns at once. */
  readonly writable: boolean;
  /** POLLHUP: both directions are shut; for a pipe, the other end is closed. */
  readonly hangup: boolean;
  /** POLLRDHUP: the peer closed, or shut down its writing side. */
  readonly peerShutdown: boolean;
  /** POLLERR: the fd has an error pending, which the next read or write returns. */
  readonly error: boolean;
}

/**
 * Waits until a read from `fd` would not block: data, the end of the stream, a connection to accept, a process that
 * has exited. Any number of waits, also for one fd, may be pending at once. While one is, the process stays alive.
 * Without `timeoutMs` there is no limit.
 *
 * Close an fd that is being waited for with `closeFd`, which ends the wait with ERR_ABORTED.
 *
 * @throws CprkitError ERR_TIMEOUT, ERR_ABORTED, ERR_FD_INVALID when `fd` is not open.
 */
export function waitReadable(fd: number, options: WaitOptions = {}): Promise<Readiness> {
  return wait(fd, pollBits.in, "readable", options);
}

/** As {@link waitReadable}, until a write to `fd` would not block or would fail at once. @throws as it does */
export function waitWritable(fd: number, options: WaitOptions = {}): Promise<Readiness> {
  return wait(fd, pollBits.out, "writable", options);
}

/** Options of {@link waitHangup}. Without `timeoutMs` there is no limit. */
export interface WaitHangupOptions extends WaitOptions {
  /**
   * True (default): a peer that shut down only its writing side ends the wait too (POLLRDHUP). False: wait for
   * POLLHUP, which needs both directions shut, as QEMU's source does on the CPR channel.
   */
  readonly halfClose?: boolean | undefined;
}

/** As {@link waitReadable}, until the peer has hung up, whether or not there is data left to read. @throws as it does */
export function waitHangup(fd: number, options: WaitHangupOptions = {}): Promise<Readiness> {
  return wait(fd, options.halfClose === false ? 0 : pollBits.readHangup, "hung up", options);
}

/** What can be said of `fd` at this moment, without waiting. @throws CprkitError ERR_FD_INVALID when it is not open */
export function readiness(fd: number): Readiness {
  return describe(pollNow(asFd(fd), pollBits.in | pollBits.out | pollBits.readHangup));
}

async function wait(fd: number, events: number, state: string, options: WaitOptions): Promise<Readiness> {
  const { signal, timeoutMs } = options;
  asFd(fd);
  checkTimeout(timeoutMs);
  const what = `waiting for fd ${fd} to be ${state}`;
  if (signal?.aborted !== true) {
    const now = pollNow(fd, events);
    if (now !== 0) {
      // Through the event loop all the same: a loop over an fd that is always ready must let timers run.
      await new Promise((resolve) => setImmediate(resolve));
      return describe(now);
    }
  }
  const onTimeout = () => `fd ${fd} was not ${state} within ${timeoutMs} ms`;
  return waitFor<Readiness>(what, options, onTimeout, (settle) =>
    addWaiter(fd, { events, ready: (seen) => settle.resolve(describe(seen)), fail: settle.reject }),
  );
}

function pollNow(fd: number, events: number): number {
  const seen = libc().pollNow(fd, events);
  if (seen < 0) throw systemError("poll", -seen, `waiting for fd ${fd}`);
  if ((seen & pollBits.invalid) === 0) return seen;
  throw new CprkitError("ERR_FD_INVALID", `waiting for fd ${fd}: it is not open (EBADF)`, {
    errno: "EBADF",
    syscall: "poll",
  });
}

function describe(events: number): Readiness {
  return {
    readable: (events & pollBits.in) !== 0,
    writable: (events & pollBits.out) !== 0,
    hangup: (events & pollBits.hangup) !== 0,
    peerShutdown: (events & pollBits.readHangup) !== 0,
    error: (events & pollBits.error) !== 0,
  };
}
