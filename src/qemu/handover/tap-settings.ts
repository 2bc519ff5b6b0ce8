// What a starting QEMU sets anew in the kernel, of a tap that the running one still uses (QEMU 10.0 and 11.1, tried):
//
// - the size of the header before each packet, for the whole interface: from then on both directions of the running guest
//   are garbage. So it is set back within microseconds, for as long as the new QEMU builds its machine;
// - of several queues it detaches all but the first, and it ends if one is detached already, as the rest are when the
//   guest uses fewer. So all are attached before it starts. When it loads the guest it attaches what the guest uses;
// - it switches off what the host leaves to the guest of large packets (TSO, checksums), until it loads the guest. So that
//   is set again when it has built its machine.
//
// A running QEMU whose update is rolled back gets all as it had it.

import type { ProcessIdentity } from "../../linux/index.ts";
import { goFirst } from "../../linux/process/scheduling.ts";
import { getVnetHeaderSize, isQueueAttached, setQueueAttached, setVnetHeaderSize } from "../../linux/tap.ts";
import { getOffload, setOffload } from "../../linux/tap-offload.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import type { Handed } from "./desk.ts";
import { takeFds } from "./take.ts";

/** A queue of a tap, by its fd in the running QEMU. */
export interface TapSettings {
  readonly fd: number;
  /** Bytes before each packet. */
  readonly headerBytes: number;
  /** The kernel gives it packets; undefined for the only queue. */
  readonly attached?: boolean | undefined;
  /** What the host leaves to the guest of large packets, in bits of the kernel's; undefined where it does not tell. */
  readonly offload?: number | undefined;
}

/** The taps as they are. A macvtap has no queue that could be asked about. @throws CprkitError as `takeFds` */
export function readTaps(from: ProcessIdentity, handed: readonly Handed[]): TapSettings[] {
  const taps = handed.filter(isTap);
  return withFds(from, taps, (taken, tap) => {
    const hasMore = taps.some((other) => other !== tap && other.name === tap.name);
    const isMacvtap = tap.what.includes("/dev/tap");
    const attached = hasMore && !isMacvtap ? isQueueAttached(taken) : undefined;
    const offload = isMacvtap ? undefined : getOffload(taken);
    return {
      fd: tap.fd,
      headerBytes: getVnetHeaderSize(taken),
      ...(attached === undefined ? {} : { attached }),
      ...(offload === undefined ? {} : { offload }),
    };
  });
}

/** Whether taps are among what the new QEMU gets. */
export function hasTaps(handed: readonly Handed[]): boolean {
  return handed.some(isTap);
}

function isTap({ what }: Handed): boolean {
  return what.startsWith("tap ");
}

/** Attaches all queues. @throws CprkitError as `takeFds`; ERR_SYSCALL */
export function attachQueues(from: ProcessIdentity, taps: readonly TapSettings[]): void {
  const several = taps.filter(({ attached }) => attached !== undefined);
  restore(
    from,
    several.map((tap) => ({ ...tap, attached: true })),
  );
}

/** Puts them back as they were. @returns what went wrong, in words */
export function restoreTaps(from: ProcessIdentity, taps: readonly TapSettings[]): string[] {
  try {
    restore(from, taps);
    return [];
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    return [`the tap could not be set as it was: ${error.reason}`];
  }
}

/**
 * Sets the header sizes back as soon as anybody changes them, until the returned function is called, which gives the guest
 * its large packets again. It looks about every
 * 0.1 ms, in turn with this process's other work: nothing else may block the event loop meanwhile. As root this process
 * goes before others for that time: on a busy machine it would look tens of milliseconds late now and then.
 *
 * @throws CprkitError as `takeFds`
 */
export function holdHeaders(from: ProcessIdentity, taps: readonly TapSettings[]): () => void {
  if (taps.length === 0) return () => undefined;
  const taken = takeFds(from, taps);
  const goAsBefore = goFirst();
  let isOver = false;
  const end = () => {
    if (isOver) return;
    isOver = true;
    goAsBefore();
    try {
      for (const [index, { offload }] of taps.entries()) giveOffload(taken.fds[index] ?? -1, offload);
    } catch (error) {
      // The guest does without, and the next one who sets it says so.
      if (!isCprkitError(error)) throw error;
    } finally {
      taken.close();
    }
  };
  const turn = () => {
    if (isOver) return;
    const until = performance.now() + turnMs;
    try {
      while (performance.now() < until) {
        Atomics.wait(nobody, 0, 0, pauseMs);
        for (const [index, { headerBytes }] of taps.entries()) setIfOther(taken.fds[index] ?? -1, headerBytes);
      }
    } catch (error) {
      // Of an fd that worked a moment ago.
      end();
      if (!isCprkitError(error)) throw error;
    }
    setImmediate(turn);
  };
  turn();
  return end;
}

/** How long this process's other work waits at a time; and how long at most, with the kernel's 0.05, nobody looks. */
const turnMs = 1;
const pauseMs = 0.05;
/** Nobody ever notifies it. */
const nobody = new Int32Array(new SharedArrayBuffer(4));

function restore(from: ProcessIdentity, taps: readonly TapSettings[]): void {
  withFds(from, taps, (taken, { attached, headerBytes, offload }) => {
    setIfOther(taken, headerBytes);
    giveOffload(taken, offload);
    if (attached !== undefined && isQueueAttached(taken) !== attached) setQueueAttached(taken, attached);
  });
}

function setIfOther(fd: number, headerBytes: number): void {
  if (getVnetHeaderSize(fd) !== headerBytes) setVnetHeaderSize(fd, headerBytes);
}

function giveOffload(fd: number, offload: number | undefined): void {
  if (offload !== undefined && getOffload(fd) !== offload) setOffload(fd, offload);
}

function withFds<T extends Pick<Handed, "fd">, R>(
  from: ProcessIdentity,
  queues: readonly T[],
  act: (taken: number, queue: T) => R,
): R[] {
  const taken = takeFds(from, queues);
  try {
    return queues.map((queue, index) => act(taken.fds[index] ?? -1, queue));
  } finally {
    taken.close();
  }
}
