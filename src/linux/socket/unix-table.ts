// The UNIX sockets of a network namespace, with their names. A name is any bytes its owner likes, line feeds too, and
// /proc/net/unix prints them as they are: what looks like a line of that file may be a part of a name. sock_diag(7)
// gives each name with its length and is asked first; it knows our own network namespace alone.

import { closeFd } from "../fd.ts";
import { libc } from "../ffi/koffi.ts";
import { type ProcessRef, readProcessFile, readProcessLink } from "../process/proc.ts";

/** A UNIX socket, as the kernel has it. */
export interface UnixSocket {
  /** The number in "socket:[N]". */
  readonly inode: number;
  readonly state: "listening" | "connected" | "other";
  /**
   * What it is bound to, if anything; an accepted socket has the name of the listening one. As it was given to bind:
   * relative paths stay relative; a leading "@" is the abstract namespace, where "@" also stands for each NUL.
   */
  readonly name?: string;
  /** Of a listening socket, by sock_diag alone: the inodes of the clients that wait to be accepted, the first one first. */
  readonly waiting?: readonly number[];
  /** Of a connected one, by sock_diag alone: the inode of the other end; 0 while it waits to be accepted. */
  readonly peer?: number;
}

/** A UNIX socket of this network namespace that accepts connections. */
export interface ListeningUnixSocket {
  /** As it was given to bind: relative paths stay relative; a leading "@" is the abstract namespace. */
  readonly path: string;
  /** The number in "socket:[N]". */
  readonly inode: number;
}

/**
 * The listening UNIX sockets of this network namespace, or of that of process `pid`, by sock_diag(7), or by
 * /proc/net/unix where the kernel has no sock_diag for them; an inode that the latter names twice is left out.
 *
 * @throws CprkitError ERR_SYSCALL when neither can be read.
 */
export function listeningUnixSockets(pid: ProcessRef = "self"): ListeningUnixSocket[] {
  return unixSockets(pid).flatMap(({ inode, state, name }) =>
    state === "listening" && name !== undefined ? [{ path: name, inode }] : [],
  );
}

/**
 * The UNIX sockets of the network namespace of process `pid`. Of another namespace than ours, and where the kernel has
 * no sock_diag, only what is not in doubt: see {@link parseUnixTable}.
 *
 * @throws CprkitError ERR_SYSCALL when the process does not exist, or its table can't be read.
 */
export function unixSockets(pid: ProcessRef = "self"): UnixSocket[] {
  const asked = isInOurNamespace(pid) ? askKernel() : undefined;
  return asked ?? parseUnixTable(readProcessFile(pid, "net/unix"));
}

function isInOurNamespace(pid: ProcessRef): boolean {
  if (pid === "self") return true;
  try {
    return readProcessLink(pid, "ns/net") === readProcessLink("self", "ns/net");
  } catch {
    return false;
  }
}

const acceptsConnections = 0x10000;

/**
 * Reads the text of /proc/PID/net/unix (Linux net/unix/af_unix.c, unix_seq_show). Each socket has one line of its own,
 * so an inode that occurs twice is once or twice part of a name: which is not known, and it is left out. A line with
 * the inode of something that is not a UNIX socket can't be distinguished from a real one.
 */
export function parseUnixTable(text: string): UnixSocket[] {
  const found = new Map<number, UnixSocket>();
  const doubtful = new Set<number>();
  for (const line of text.split("\n").slice(1)) {
    const [, flags = "", state, inodeText, name] =
      /^[0-9a-f]+: [0-9A-F]{8} [0-9A-F]{8} ([0-9A-F]{8}) [0-9A-F]{4} ([0-9A-F]{2}) +(\d+)(?: (.+))?$/.exec(line) ?? [];
    if (inodeText === undefined) continue;
    const inode = Number(inodeText);
    if (found.has(inode)) doubtful.add(inode);
    const isListening = (Number.parseInt(flags, 16) & acceptsConnections) !== 0;
    found.set(inode, {
      inode,
      state: isListening ? "listening" : state === "03" ? "connected" : "other",
      ...(name === undefined ? {} : { name }),
    });
  }
  for (const inode of doubtful) found.delete(inode);
  return [...found.values()];
}

// From here on: NETLINK_SOCK_DIAG. Numbers and layouts: Linux include/uapi/linux/{netlink,sock_diag,unix_diag}.h.

const afNetlink = 16;
const netlinkSockDiag = 4;
/** SOCK_RAW, non-blocking and close-on-exec. */
const rawSocket = 3 | 0o4000 | 0o2000000;
const headerBytes = 16;
const message = { error: 2, done: 3, sockDiagByFamily: 20 } as const;
const requestDump = 0x301;
const afUnix = 1;
const showNameWaitingPeer = 1 | 8 | 4;
const nameAttribute = 0;
const peerAttribute = 2;
const waitingAttribute = 3;
const states: ReadonlyMap<number, UnixSocket["state"]> = new Map([
  [1, "connected"],
  [10, "listening"],
]);

/** All UNIX sockets of our network namespace; undefined where the kernel does not say. */
function askKernel(): UnixSocket[] | undefined {
  const c = libc();
  const netlink = c.socket(afNetlink, rawSocket, netlinkSockDiag);
  if (netlink < 0) return undefined;
  try {
    if (c.sendmsg(netlink, dumpRequest(), [], 0) < 0) return undefined;
    const sockets: UnixSocket[] = [];
    // The kernel puts at most 32 KiB into one answer (net/netlink/af_netlink.c).
    const buffer = new Uint8Array(64 * 1024);
    for (;;) {
      const { result } = c.recvmsg(netlink, buffer, 0, 0);
      if (result <= 0) return undefined;
      const end = readAnswer(buffer.subarray(0, result), sockets);
      if (end === "refused") return undefined;
      if (end === "done") return sockets;
    }
  } finally {
    closeFd(netlink);
  }
}

function dumpRequest(): Uint8Array {
  const bytes = new Uint8Array(headerBytes + 24);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, message.sockDiagByFamily, true);
  view.setUint16(6, requestDump, true);
  // struct unix_diag_req: family, protocol, states, inode, what to show, cookie.
  view.setUint8(headerBytes, afUnix);
  view.setUint32(headerBytes + 4, 0xffff_ffff, true);
  view.setUint32(headerBytes + 12, showNameWaitingPeer, true);
  view.setUint32(headerBytes + 16, 0xffff_ffff, true);
  view.setUint32(headerBytes + 20, 0xffff_ffff, true);
  return bytes;
}

/** Adds the sockets of one answer to `sockets`. */
function readAnswer(bytes: Uint8Array, sockets: UnixSocket[]): "more" | "done" | "refused" {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const length = view.getUint32(at, true);
    const type = view.getUint16(at + 4, true);
    if (length < headerBytes || at + length > bytes.length) return "refused";
    if (type === message.done) return "done";
    if (type !== message.sockDiagByFamily) return "refused";
    sockets.push(readSocket(bytes.subarray(at + headerBytes, at + length)));
    at += aligned(length);
  }
  return "more";
}

/** struct unix_diag_msg (family, type, state, inode, cookie) and its attributes. */
function readSocket(bytes: Uint8Array): UnixSocket {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let name: string | undefined;
  const waiting: number[] = [];
  let peer: number | undefined;
  for (let at = 16; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4) break;
    const attribute = view.getUint16(at + 2, true);
    if (attribute === waitingAttribute) {
      for (let each = at + 4; each + 4 <= at + length; each += 4) waiting.push(view.getUint32(each, true));
    }
    if (attribute === peerAttribute) peer = view.getUint32(at + 4, true);
    if (attribute === nameAttribute) name = nameOf(bytes.subarray(at + 4, at + length));
    at += aligned(length);
  }
  return {
    inode: view.getUint32(4, true),
    state: states.get(view.getUint8(2)) ?? "other",
    ...(name === undefined || name === "" ? {} : { name }),
    ...(waiting.length === 0 ? {} : { waiting }),
    ...(peer === undefined ? {} : { peer }),
  };
}

/** sun_path: a path with the NUL at its end, or a NUL and a name in which NUL is a byte like any other. */
function nameOf(path: Uint8Array): string {
  const text = Buffer.from(path).toString("utf8");
  return path[0] === 0 ? text.replaceAll("\0", "@") : text.replace(/\0.*$/s, "");
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}
