// The sockets of a process, from the tables of its network namespace.

import { listFds, readFdLink } from "../../linux/index.ts";
import { tcpSockets } from "../../linux/socket/tcp.ts";
import { type UnixSocket, unixSockets } from "../../linux/socket/unix-table.ts";
import { isCprkitError } from "../../vmstate/error.ts";

/** A socket, as the kernel's tables have it. */
export interface SocketInfo {
  readonly kind: "listening" | "accepted" | "connected" | "other";
  readonly family: "unix" | "tcp";
  /** For people. */
  readonly what: string;
  /** The UNIX path it is bound to ("@…" is the abstract namespace), or "ADDRESS:PORT". */
  readonly at?: string;
}

/**
 * The sockets of a process's network namespace by inode, the N of "socket:[N]". A table that can't be read is taken for
 * empty.
 *
 * @param wanted those that must be there: TCP sockets are looked for only if one is no UNIX socket, for the kernel takes tens
 * of milliseconds for that table
 */
export function readSockets(pid: number, wanted: readonly number[]): Map<number, SocketInfo> {
  const sockets = new Map<number, SocketInfo>();
  for (const socket of orEmpty(() => unixSockets(pid))) sockets.set(socket.inode, describe(socket));
  if (wanted.every((inode) => sockets.has(inode))) return sockets;
  for (const family of ["tcp", "tcp6"] as const) {
    for (const { inode, state, local: at } of orEmpty(() => tcpSockets(pid, family))) {
      if (inode === 0) continue;
      const listening = state === "listening";
      const what = listening ? `TCP socket listening at ${at}` : `TCP connection at ${at}`;
      sockets.set(inode, { kind: listening ? "listening" : "accepted", family: "tcp", what, at });
    }
  }
  return sockets;
}

/** The listening UNIX sockets that a process has open, with their names as they were given to bind, by fd. */
export function listeningUnixFds(pid: number): Map<number, string> {
  return new Map([...listeningFds(pid)].flatMap(([fd, { family, at }]) => (family === "unix" ? [[fd, at]] : [])));
}

/** All listening sockets that a process has open, by fd. */
export function listeningFds(pid: number): Map<number, { readonly family: "unix" | "tcp"; readonly at: string }> {
  const fds = socketFds(pid);
  const sockets = readSockets(
    pid,
    fds.map(({ inode }) => inode),
  );
  return new Map(
    fds.flatMap(({ fd, inode }) => {
      const { family, kind, at } = sockets.get(inode) ?? {};
      return family !== undefined && kind === "listening" && at !== undefined ? [[fd, { family, at }] as const] : [];
    }),
  );
}

/** The inodes of all sockets that a process has open. */
export function socketInodes(pid: number): number[] {
  return socketFds(pid).map(({ inode }) => inode);
}

function socketFds(pid: number): { readonly fd: number; readonly inode: number }[] {
  return listFds(pid).flatMap((fd) => {
    const inode = socketInode(linkOf(pid, fd));
    return inode === undefined ? [] : [{ fd, inode }];
  });
}

/** The inode of an fd by its link; undefined for what is no socket. */
export function socketInode(link: string): number | undefined {
  const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
  return inode === undefined ? undefined : Number(inode);
}

function linkOf(pid: number, fd: number): string {
  try {
    return readFdLink(pid, fd);
  } catch (error) {
    if (isCprkitError(error)) return "";
    throw error;
  }
}

function describe({ state, name: at }: UnixSocket): SocketInfo {
  if (at === undefined) {
    return state === "connected"
      ? { kind: "connected", family: "unix", what: "UNIX socket, connected" }
      : { kind: "other", family: "unix", what: "UNIX socket" };
  }
  if (state === "listening") return { kind: "listening", family: "unix", what: `UNIX socket listening at ${at}`, at };
  // An accepted socket has the listening one's name.
  return state === "connected"
    ? { kind: "accepted", family: "unix", what: `UNIX connection accepted at ${at}`, at }
    : { kind: "other", family: "unix", what: `UNIX socket at ${at}`, at };
}

function orEmpty<T>(read: () => readonly T[]): readonly T[] {
  try {
    return read();
  } catch (error) {
    if (isCprkitError(error)) return [];
    throw error;
  }
}
