// Who is at the other end of a UNIX socket, as the kernel knows it.

import { CprkitError } from "../../vmstate/error.ts";
import { libc } from "../ffi/koffi.ts";
import { check } from "../system-error.ts";

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

/**
 * Returns the peer's credentials when it runs as `uid`, by default this process's effective user.
 *
 * @throws CprkitError ERR_PEER_CREDENTIALS when it runs as another user: no byte or fd of it may be used; as
 * {@link getPeerCredentials}.
 */
export function checkPeer(socket: number, options: { readonly uid?: number | undefined } = {}): PeerCredentials {
  const uid = options.uid ?? process.geteuid?.();
  const peer = getPeerCredentials(socket);
  if (peer.uid === uid) return peer;
  throw new CprkitError(
    "ERR_PEER_CREDENTIALS",
    `peer of socket ${socket}: expected a process of uid ${uid}, found pid ${peer.pid} of uid ${peer.uid}, ` +
      `gid ${peer.gid}; run both ends as the same user, or name the peer's uid`,
  );
}
