// Who is at the other end of a UNIX socket, as the kernel knows it.

import { fstatSync } from "node:fs";
import { CprkitError } from "../../vmstate/error.ts";
import { errno } from "../errno.ts";
import { closeFds } from "../fd.ts";
import { libc } from "../ffi/koffi.ts";
import { isRunning, type ProcessIdentity, processIdentity } from "../process/proc.ts";
import { check } from "../system-error.ts";
import { readiness } from "../wait/readiness.ts";

/** Of the process that connected, or that called listen, at that moment (SO_PEERCRED in unix(7)). */
export interface PeerCredentials {
  /** Process id; 0 when the peer is in a pid namespace that is not visible from here. */
  readonly pid: number;
  /** Effective user id. */
  readonly uid: number;
  /** Effective group id. */
  readonly gid: number;
}

const solSocket = 1;
const soPeercred = 17;
/** Linux 6.5 include/uapi/asm-generic/socket.h. */
const soPeerpidfd = 77;

/**
 * Who is at the other end of a connected UNIX socket.
 *
 * @throws CprkitError ERR_FD_INVALID when `socket` is not open, ERR_SYSCALL with ENOTSOCK when it is not a socket.
 */
export function getPeerCredentials(socket: number): PeerCredentials {
  const value = new Int32Array(3);
  check(libc().getsockopt(socket, solSocket, soPeercred, value), "getsockopt", () => `the peer of socket ${socket}`);
  const [pid = 0, uid = 0, gid = 0] = value;
  // uid_t and gid_t are unsigned.
  return { pid, uid: uid >>> 0, gid: gid >>> 0 };
}

/** What {@link checkPeer} asks of a peer. */
export interface ExpectedPeer {
  /** Its effective user. Default: this process's own. */
  readonly uid?: number | undefined;
  /** Which process it is. Default: any of that user. */
  readonly process?: ProcessIdentity | undefined;
}

/**
 * Returns the peer's credentials when it runs as `uid`, by default this process's effective user, and is `process`, if
 * that is given.
 *
 * @throws CprkitError ERR_PEER_CREDENTIALS when it runs as another user, or is another process: no byte or fd of it may
 * be used; as {@link getPeerCredentials}.
 */
export function checkPeer(socket: number, expected: ExpectedPeer = {}): PeerCredentials {
  const uid = expected.uid ?? process.geteuid?.();
  const peer = getPeerCredentials(socket);
  if (peer.uid !== uid) {
    throw new CprkitError(
      "ERR_PEER_CREDENTIALS",
      `peer of socket ${socket}: expected a process of uid ${uid}, found pid ${peer.pid} of uid ${peer.uid}, ` +
        `gid ${peer.gid}; run both ends as the same user, or name the peer's uid`,
    );
  }
  if (expected.process !== undefined) expectProcess(socket, expected.process);
  return peer;
}

function expectProcess(socket: number, expected: ProcessIdentity): void {
  const peer = holdPeer(socket);
  try {
    if (peer.is(expected)) return;
    throw new CprkitError(
      "ERR_PEER_CREDENTIALS",
      `peer of socket ${socket}: expected process ${expected.pid}, found ${nameOfPeer(peer)}; a wrapper must become ` +
        "its program (exec)",
    );
  } finally {
    peer.close();
  }
}

/** The process at the other end of a socket, held so that no later one can be taken for it. */
export interface HeldPeer {
  readonly credentials: PeerCredentials;
  /** Undefined if it had ended when it was looked at, or is in a pid namespace that is not visible from here. */
  readonly process: ProcessIdentity | undefined;
  /** The inode of our end. */
  readonly socket: number;
  /** Whether it is this process, and still runs. */
  is(process: ProcessIdentity): boolean;
  close(): void;
}

/**
 * Holds the process at the other end of a connected UNIX socket by a pidfd. Linux gives the peer's own from 6.5 on
 * (SO_PEERPIDFD); before that it is opened by the pid, and without pidfds (before 5.3, a seccomp filter) only pid and
 * start time tell the process from others.
 *
 * @throws CprkitError as {@link getPeerCredentials}
 */
export function holdPeer(socket: number): HeldPeer {
  const credentials = getPeerCredentials(socket);
  const pidfd = openPeerPidfd(socket, credentials.pid);
  const close = () => {
    if (typeof pidfd === "number") closeFds([pidfd]);
  };
  const hasEnded = () => pidfd === "ended" || (pidfd !== undefined && hasExited(pidfd));
  try {
    const seen = credentials.pid === 0 ? undefined : identify(credentials.pid);
    // Alive after it was identified: so it was the one that was identified.
    const identity = hasEnded() ? undefined : seen;
    const is = ({ pid, startTime }: ProcessIdentity) =>
      identity?.pid === pid && identity.startTime === startTime && !hasEnded() && isRunning(identity);
    return { credentials, process: identity, socket: fstatSync(socket).ino, is, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** In words: "process 4711". */
export function nameOfPeer({ credentials: { pid }, process }: Pick<HeldPeer, "credentials" | "process">): string {
  if (pid === 0) return "one of another pid namespace (pid 0)";
  return process === undefined ? `process ${pid}, which has ended` : `process ${pid}`;
}

/** Undefined where the kernel has no pidfds. */
function openPeerPidfd(socket: number, pid: number): number | "ended" | undefined {
  const value = new Int32Array(1);
  const got = libc().getsockopt(socket, solSocket, soPeerpidfd, value);
  if (got >= 0) return value[0];
  if (got === -errno.ESRCH) return "ended";
  if (pid === 0) return undefined;
  const pidfd = libc().pidfdOpen(pid);
  if (pidfd >= 0) return pidfd;
  return pidfd === -errno.ESRCH ? "ended" : undefined;
}

/** False where the kernel does not say: /proc is asked, too. */
function hasExited(pidfd: number): boolean {
  try {
    return readiness(pidfd).readable;
  } catch (error) {
    if (error instanceof CprkitError) return false;
    throw error;
  }
}

function identify(pid: number): ProcessIdentity | undefined {
  try {
    return processIdentity(pid);
  } catch (error) {
    if (error instanceof CprkitError && (error.errno === "ENOENT" || error.errno === "ESRCH")) return undefined;
    throw error;
  }
}
