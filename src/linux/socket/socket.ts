// UNIX stream sockets once they are connected: pairs, shutdown, buffer size.

import { CprkitError } from "../../vmstate/error.ts";
import { libc } from "../ffi/koffi.ts";
import { check, systemError } from "../system-error.ts";

export const afUnix = 1;
/** A stream socket that neither blocks nor survives exec. */
export const streamSocket = 1 | 0o4000 | 0o2000000;

const solSocket = 1;
const soSndbuf = 7;

/** Two connected UNIX stream sockets, non-blocking and close-on-exec. @throws CprkitError ERR_SYSCALL */
export function socketPair(): readonly [number, number] {
  const pair = libc().socketpair(afUnix, streamSocket);
  if (typeof pair === "number") throw systemError("socketpair", -pair, "creating a socket pair");
  return pair;
}

/**
 * Ends one direction or both. The peer reads what is on its way and then the end of the stream.
 *
 * "read" or "both" toward a QEMU that waits for the hang-up is the hang-up to it.
 *
 * @throws CprkitError ERR_SYSCALL with ENOTCONN when the socket is not connected.
 */
export function shutdownSocket(socket: number, direction: "read" | "write" | "both"): void {
  const how = { read: 0, write: 1, both: 2 }[direction];
  check(libc().shutdown(socket, how), "shutdown", () => `shutting down socket ${socket} (${direction})`);
}

/**
 * The socket's send buffer in bytes, as the kernel counts it: twice the payload it was asked for (socket(7), SO_SNDBUF).
 *
 * @throws CprkitError ERR_FD_INVALID when `socket` is not open, ERR_SYSCALL with ENOTSOCK when it is not a socket.
 */
export function getSendBuffer(socket: number): number {
  const value = new Int32Array(1);
  check(libc().getsockopt(socket, solSocket, soSndbuf, value), "getsockopt", () => `send buffer of socket ${socket}`);
  return value[0] ?? 0;
}

/**
 * Asks for a send buffer of `bytes` of payload and returns what the kernel gave, as {@link getSendBuffer} counts it.
 * More than net.core.wmem_max is cut down to that silently.
 *
 * @throws CprkitError ERR_VALUE for less than 1 or more than 2³⁰-1 bytes; as {@link getSendBuffer}.
 */
export function setSendBuffer(socket: number, bytes: number): number {
  if (!Number.isInteger(bytes) || bytes < 1 || bytes > 0x3fff_ffff) {
    throw new CprkitError("ERR_VALUE", `send buffer: expected 1 to ${0x3fff_ffff} bytes, found ${bytes}`);
  }
  const value = new Int32Array([bytes]);
  check(libc().setsockopt(socket, solSocket, soSndbuf, value), "setsockopt", () => `send buffer of socket ${socket}`);
  return getSendBuffer(socket);
}

/**
 * Lets `backlog` clients wait on a socket that listens already, for all who have it open. From then on this process is
 * its peer to those who connect (SO_PEERCRED).
 *
 * @throws CprkitError ERR_SYSCALL when it does not listen
 */
export function listenAgain(socket: number, backlog: number): void {
  check(libc().listen(socket, backlog), "listen", () => `listening again on socket ${socket}`);
}
