// TCP sockets: the tables of a network namespace, and connecting to one that listens on this host.

import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { errno } from "../errno.ts";
import { closeFd } from "../fd.ts";
import { libc } from "../ffi/koffi.ts";
import { type ProcessRef, readProcessFile } from "../process/proc.ts";
import { check, systemError } from "../system-error.ts";
import type { WaitOptions } from "../wait/options.ts";
import { waitWritable } from "../wait/readiness.ts";
import { streamSocket } from "./socket.ts";

/** A TCP socket, as the kernel has it. */
export interface TcpSocket {
  /** The number in "socket:[N]"; 0 for a connection that nobody has accepted yet, or that its process has closed. */
  readonly inode: number;
  /** "closing": its other end has been closed. */
  readonly state: "listening" | "connected" | "closing" | "other";
  /** "127.0.0.1:5900", or "[0:0:0:0:0:0:0:1]:5900". */
  readonly local: string;
  readonly remote: string;
}

/** Numbers of Linux include/net/tcp_states.h. */
const states: ReadonlyMap<string | undefined, TcpSocket["state"]> = new Map([
  ["01", "connected"],
  ["08", "closing"],
  ["0A", "listening"],
]);

/**
 * The TCP sockets of the network namespace of process `pid`; of a kernel without IPv6 none for "tcp6".
 *
 * @throws CprkitError ERR_SYSCALL when there is no such process
 */
export function tcpSockets(pid: ProcessRef = "self", family: "tcp" | "tcp6" = "tcp"): TcpSocket[] {
  return readTable(pid, family)
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/);
      if (local === undefined || remote === undefined || inode === undefined) return [];
      return [
        {
          inode: Number(inode),
          state: states.get(state) ?? "other",
          local: addressOf(local),
          remote: addressOf(remote),
        },
      ];
    });
}

function readTable(pid: ProcessRef, family: "tcp" | "tcp6"): string {
  try {
    return readProcessFile(pid, `net/${family}`);
  } catch (error) {
    if (family === "tcp" || !isCprkitError(error) || error.errno !== "ENOENT") throw error;
    // Throws if it is the process that is missing.
    readProcessFile(pid, "net/tcp");
    return "";
  }
}

/** "0100007F:170C" is 127.0.0.1:5900: 32-bit words in the machine's byte order, as this process's own. */
function addressOf(text: string): string {
  const [address = "", port = ""] = text.split(":");
  const bytes = (address.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse());
  const shown =
    bytes.length === 4
      ? bytes.map((byte) => Number.parseInt(byte, 16)).join(".")
      : `[${(bytes.join("").match(/.{4}/g) ?? []).map((group) => group.replace(/^0{1,3}/, "").toLowerCase()).join(":")}]`;
  return `${shown}:${Number.parseInt(port, 16)}`;
}

const family4 = 2;
const family6 = 10;

/**
 * Begins to connect to an address of {@link tcpSockets} in our own network namespace, "any" address meaning this host:
 * between two calls nothing else of this process is done. The fd is non-blocking and close-on-exec.
 *
 * @throws CprkitError ERR_SYSCALL
 */
export function beginTcp(at: string): number {
  const c = libc();
  const address = socketAddress(at);
  const fd = check(c.socket(address[0] ?? family4, streamSocket), "socket", () => `connecting to ${at}`);
  const connected = c.connectTo(fd, address);
  if (connected >= 0 || connected === -errno.EINPROGRESS) return fd;
  closeFd(fd);
  throw systemError("connect", -connected, `connecting to ${at}`);
}

/** Waits until a connection is there. @throws CprkitError ERR_SYSCALL when nobody listens, ERR_TIMEOUT, ERR_ABORTED */
export async function untilConnected(fd: number, at: string, wait: WaitOptions = {}): Promise<void> {
  await waitWritable(fd, wait);
  const error = new Int32Array(1);
  check(libc().getsockopt(fd, 1, soError, error), "getsockopt", () => `connecting to ${at}`);
  if (error[0] !== 0) throw systemError("connect", error[0] ?? 0, `connecting to ${at}`);
}

const soError = 4;

/** struct sockaddr_in, or sockaddr_in6. */
function socketAddress(at: string): Uint8Array {
  const [, groups, four, port] = /^(?:\[([0-9a-f:]+)\]|([\d.]+)):(\d+)$/.exec(at) ?? [];
  if (port === undefined) throw new CprkitError("ERR_VALUE", `${at}: expected ADDRESS:PORT`);
  const bytes = new Uint8Array(groups === undefined ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, groups === undefined ? family4 : family6, true);
  view.setUint16(2, Number(port));
  if (groups === undefined) {
    bytes.set(four === "0.0.0.0" ? [127, 0, 0, 1] : (four ?? "").split(".").map(Number), 4);
    return bytes;
  }
  const words = groups.split(":").map((group) => Number.parseInt(group, 16));
  const isAny = words.every((word) => word === 0);
  for (const [index, word] of words.entries()) view.setUint16(8 + 2 * index, isAny && index === 7 ? 1 : word);
  return bytes;
}
