// Makes each system call that an update needs late, or not on every machine, once on our own process: an old kernel
// does not have it, a seccomp filter may refuse it, and no table of versions knows.

import {
  closeFds,
  getPeerCredentials,
  openPidfd,
  readiness,
  receiveFds,
  sendFds,
  signalPidfd,
  socketPair,
  waitReadable,
} from "../../linux/index.ts";
import { isCprkitError } from "../../vmstate/error.ts";

/** Returns what the kernel refuses, in words, one each. Leaves no fd open. */
export async function tryCalls(): Promise<string[]> {
  const open: number[] = [];
  const refused: string[] = [];
  const attempt = async <T>(act: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await act();
    } catch (error) {
      if (!isCprkitError(error)) throw error;
      if (error.code !== "ERR_TIMEOUT") refused.push(error.reason);
      return undefined;
    }
  };
  try {
    // poll, and epoll as nothing has happened yet: to end a process is to wait for this.
    const pidfd = await attempt(() => openPidfd(process.pid));
    if (pidfd !== undefined) {
      open.push(pidfd);
      await attempt(() => signalPidfd(pidfd, 0));
      await attempt(() => readiness(pidfd));
      await attempt(() => waitReadable(pidfd, { timeoutMs: 0 }));
    }
    const pair = await attempt(() => socketPair());
    if (pair !== undefined) {
      const [here, there] = pair;
      open.push(here, there);
      await attempt(() => getPeerCredentials(here));
      // What passes is the socket itself.
      const sent = await attempt(() => sendFds(here, new Uint8Array(1), [here]));
      const received = sent === undefined ? undefined : await attempt(() => receiveFds(there, new Uint8Array(1)));
      if (typeof received === "object") open.push(...received.fds);
    }
  } finally {
    closeFds(open);
  }
  return refused;
}
