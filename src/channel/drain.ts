// Lets an old QEMU finish sending before its CPR channel is closed.

import { readSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { closeFd } from "../linux/fd.ts";
import { acceptNow, type UnixListener } from "../linux/socket/unix.ts";

/** A sender that is at work sends again within this; one that says nothing for so long is not waited for. In ms. */
const longestSilenceMs = 1_000;
/** Longest in all, in ms: a sender without an end is somebody else's fault. */
const longestMs = 2_000;

/**
 * Before a CPR channel is closed whose state has not come to its end: reads what still comes and drops it, until the
 * sender has ended its side. QEMU 11.1 dies, and its guest with it, of a channel that breaks while it sends fds
 * (11.1.3: an error that was not set gets a prefix, migration/vmstate.c); it must be told by a hang-up afterwards. What
 * was sent completely costs one read. The fds that come are dropped by the kernel. Never throws.
 */
export async function drain(socket: number): Promise<void> {
  const buffer = new Uint8Array(1 << 16);
  const start = performance.now();
  let heard = start;
  for (;;) {
    const now = performance.now();
    if (now - heard > longestSilenceMs || now - start > longestMs) return;
    try {
      // read(2), not recvmsg(2): without room for fds none can come. And no epoll: waiting may be what has failed.
      if (readSync(socket, buffer) === 0) return;
      heard = performance.now();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return;
      await delay(2);
    }
  }
}

/** As {@link drain}, for senders that have connected but were not accepted yet; nobody else can connect from here on. */
export async function drainWaiting(listener: UnixListener): Promise<void> {
  listener.withdraw();
  for (;;) {
    const socket = acceptNow(listener.fd);
    if (socket === "none") return;
    if (socket === "refused") {
      // Its socket's buffer takes what it sends.
      await delay(longestSilenceMs);
      return;
    }
    await drain(socket);
    closeFd(socket);
  }
}
