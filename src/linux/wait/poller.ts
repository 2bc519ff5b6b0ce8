// Waits for many raw fds at once on Node's own event loop. One epoll set holds every fd that somebody waits for; the
// set's fd is readable when any of them is ready, and that one fd is watched. No thread is used, no fd of the
// caller's is changed, and the set exists only while somebody waits.

import { CprkitError } from "../../vmstate/error.ts";
import { errno } from "../errno.ts";
import { libc } from "../ffi/koffi.ts";
import { check, systemError } from "../system-error.ts";

/** poll(2)'s bits; epoll's are the same. */
export const pollBits = { in: 0x1, out: 0x4, error: 0x8, hangup: 0x10, invalid: 0x20, readHangup: 0x2000 } as const;

/** Reported by the kernel whether asked for or not. */
const always = pollBits.error | pollBits.hangup;

interface Waiter {
  /** The bits that wake it. */
  readonly events: number;
  ready(events: number): void;
  fail(error: CprkitError): void;
}

const waiting = new Map<number, Set<Waiter>>();
let set: { fd: number; watch: { close(): void } } | undefined;
let dispatchPlanned = false;

/** Adds a waiter that is called once, from the event loop, never from within this call. Returns how to withdraw it. */
export function addWaiter(fd: number, waiter: Waiter): () => void {
  set ??= openSet();
  const waiters = waiting.get(fd) ?? new Set();
  waiters.add(waiter);
  waiting.set(fd, waiters);
  const registered = register(set.fd, fd);
  if (registered < 0) {
    removeWaiter(fd, waiter);
    throw systemError("epoll_ctl", -registered, `waiting for fd ${fd}`);
  }
  return () => removeWaiter(fd, waiter);
}

/** Fails everybody who waits for `fd`: to be called before it is closed. */
export function failWaiters(fd: number): void {
  if (!waiting.has(fd)) return;
  fail(fd, new CprkitError("ERR_ABORTED", `fd ${fd} was closed here while it was being waited for`));
}

function fail(fd: number, error: CprkitError): void {
  const waiters = waiting.get(fd);
  if (waiters === undefined) return;
  waiting.delete(fd);
  if (set !== undefined) libc().epollDelete(set.fd, fd);
  closeSetIfIdle();
  for (const waiter of waiters) waiter.fail(error);
}

function removeWaiter(fd: number, waiter: Waiter): void {
  const waiters = waiting.get(fd);
  if (waiters === undefined || !waiters.delete(waiter)) return;
  if (waiters.size === 0) waiting.delete(fd);
  if (set !== undefined) {
    if (waiters.size === 0) libc().epollDelete(set.fd, fd);
    else register(set.fd, fd);
  }
  closeSetIfIdle();
}

/** Tells the kernel what is awaited of `fd` now. An fd that was closed and opened again is no longer in the set. */
function register(epoll: number, fd: number): number {
  const c = libc();
  const events = awaitedEvents(fd);
  const added = c.epollAdd(epoll, fd, events);
  return added === -errno.EEXIST ? c.epollModify(epoll, fd, events) : added;
}

function awaitedEvents(fd: number): number {
  let events = 0;
  for (const waiter of waiting.get(fd) ?? []) events |= waiter.events;
  return events;
}

function openSet(): { fd: number; watch: { close(): void } } {
  const c = libc();
  const fd = check(c.epollCreate(), "epoll_create1", () => "waiting for fds");
  try {
    return { fd, watch: c.watchReadable(fd, planDispatch) };
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

function closeSetIfIdle(): void {
  if (waiting.size > 0 || set === undefined) return;
  const { fd, watch } = set;
  set = undefined;
  watch.close();
  libc().close(fd);
}

/**
 * koffi's callback runs outside of Node's own callback scope, where promises that are settled may not be run; an
 * immediate of the same turn of the loop is inside it.
 */
function planDispatch(): void {
  if (dispatchPlanned) return;
  dispatchPlanned = true;
  setImmediate(dispatch);
}

function dispatch(): void {
  dispatchPlanned = false;
  if (set === undefined) return;
  const c = libc();
  const ready = c.epollReady(set.fd);
  if (typeof ready === "number") {
    // After EINTR the set is readable as before, and this is called again. Else nobody would ever be woken.
    if (ready === -errno.EINTR) return;
    for (const fd of [...waiting.keys()]) fail(fd, systemError("epoll_wait", -ready, `waiting for fd ${fd}`));
    return;
  }
  for (const { fd } of ready) {
    const waiters = waiting.get(fd);
    const events = waiters === undefined ? 0 : c.pollNow(fd, awaitedEvents(fd));
    if (waiters === undefined || events <= 0 || (events & pollBits.invalid) !== 0) {
      // The kernel's set knows files: one that was closed other than by closeFd while a copy of it lives on elsewhere
      // stays in the set under a number that means nothing now, or another file. Only a new set is rid of it.
      renewSet();
      return;
    }
    for (const waiter of [...waiters]) {
      const seen = events & (waiter.events | always);
      if (seen === 0) continue;
      removeWaiter(fd, waiter);
      waiter.ready(seen);
    }
  }
}

function renewSet(): void {
  if (set === undefined) return;
  // First the old one, whose number then is free for the new one also at the limit of open fds.
  set.watch.close();
  libc().close(set.fd);
  set = undefined;
  try {
    set = openSet();
  } catch (error) {
    // Thrown from here it would end the process: it is for those who wait.
    if (!(error instanceof CprkitError)) throw error;
    for (const fd of [...waiting.keys()]) fail(fd, error);
    return;
  }
  for (const fd of [...waiting.keys()]) {
    const registered = set === undefined ? 0 : register(set.fd, fd);
    if (registered < 0) fail(fd, systemError("epoll_ctl", -registered, `waiting for fd ${fd}`));
  }
}
