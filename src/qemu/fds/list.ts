// Every fd of a running QEMU: what it is, and what a CPR update does with it.

import { describeFd, listFds, readFdInfo, readFdLink } from "../../linux/index.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import { objectParts } from "../command-line/monitors.ts";
import type { CommandOption } from "../command-line/parse.ts";
import type { Qmp } from "../qmp/client.ts";
import type { Fate, VmFd } from "./fate.ts";
import { carriedRam } from "./ram.ts";
import { readSockets, type SocketInfo, socketInode } from "./sockets.ts";
import { carriedVfio, deviceBehind, vfioFacts } from "./vfio.ts";

/** What {@link listVmFds} needs to know. */
export interface VmFdsOptions {
  /** An open session with this QEMU. Without one, names of memory backends and VFIO devices are missing. */
  readonly qmp?: Qmp | undefined;
  /** The VM's command line, to recognise fds that were passed by number and the order of memory backends. */
  readonly options?: readonly CommandOption[] | undefined;
  /** Absolute path of the socket that `qmp` is connected to: to distinguish that connection from a client's. */
  readonly qmpPath?: string | undefined;
}

/**
 * Lists the fds of QEMU process `pid`, ascending. Reads only; fds that are closed meanwhile are left out.
 * Which fds CPR carries: QEMU 10.0 to 11.1, callers of cpr_save_fd (system/physmem.c, backends/hostmem-*.c, hw/vfio).
 *
 * @throws CprkitError ERR_SYSCALL when there is no such process or it may not be looked at (another user's, and we
 * are not root); whatever {@link Qmp.execute} throws.
 */
export async function listVmFds(pid: number, how: VmFdsOptions = {}): Promise<VmFd[]> {
  return (await readVmFds(pid, how)).fds;
}

/** As {@link listVmFds}, and about how many further fds CPR carries: interrupts of VFIO devices. */
export async function readVmFds(
  pid: number,
  how: VmFdsOptions,
): Promise<{ readonly fds: VmFd[]; readonly interrupts: number }> {
  const { qmp, options = [], qmpPath } = how;
  const links = new Map(listFds(pid).flatMap((fd) => present(() => [[fd, readFdLink(pid, fd)] as const]) ?? []));
  const carried = new Map<number, Fate>();
  const vfio = qmp === undefined ? undefined : await vfioFacts(qmp);
  for (const [fd, fate] of await carriedRam(pid, links, options, qmp)) carried.set(fd, fate);
  for (const [fd, fate] of carriedVfio(links, vfio, (fd) => deviceBehind(pid, fd))) carried.set(fd, fate);
  const passed = passedFds(options);
  for (const fd of qmp === undefined ? [] : await fdsetFds(qmp)) passed.set(fd, "add-fd");
  const inodes = [...links.values()].flatMap((link) => socketInode(link) ?? []);
  const context: Context = { pid, sockets: readSockets(pid, inodes), passed, qmpPath };
  const fds = [...links].flatMap(([fd, link]) => {
    const known = carried.get(fd);
    const what = present(() => whatIs(fd, link, context));
    if (what === undefined) return [];
    return [{ fd, link, what, ...(known ?? otherFate(fd, link, context)) }];
  });
  return { fds, interrupts: vfio?.interrupts ?? 0 };
}

interface Context {
  readonly pid: number;
  readonly sockets: ReadonlyMap<number, SocketInfo>;
  /** Fds that a parent process passed, and the option that says so. */
  readonly passed: ReadonlyMap<number, string>;
  readonly qmpPath: string | undefined;
}

/** An fd that was closed meanwhile is left out. */
function present<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (isCprkitError(error) && (error.errno === "ENOENT" || error.errno === "ESRCH")) return undefined;
    throw error;
  }
}

function whatIs(fd: number, link: string, { pid, sockets }: Context): string {
  const socket = sockets.get(socketInode(link) ?? -1);
  if (socket !== undefined) return socket.what;
  if (link === "/dev/net/tun") {
    const interfaceName = readFdInfo(pid, fd).fields.get("iff");
    return interfaceName === undefined ? link : `tap ${interfaceName}`;
  }
  return describeFd(fd, pid);
}

function otherFate(fd: number, link: string, context: Context): Fate {
  const option = context.passed.get(fd);
  if (option !== undefined)
    return { fate: "lost", why: `passed to QEMU from outside (-${option}); CPR does not carry it` };
  if (fd <= 2) return { fate: "inherited", why: "stdin, stdout or stderr" };
  const inode = socketInode(link);
  if (inode !== undefined) return socketFate(context.sockets.get(inode), context.qmpPath);
  return (
    fates.find(({ match }) => match.test(link)) ?? { fate: "unknown" as const, why: "cprkit does not know this kind" }
  );
}

function socketFate(socket: SocketInfo | undefined, qmpPath: string | undefined): Fate {
  switch (socket?.kind) {
    case "listening":
      return socket.family === "tcp"
        ? { fate: "recreated", why: "the new QEMU listens again, once this one has released the port" }
        : { fate: "recreated", why: "the new QEMU listens too, at a path of its own" };
    case "accepted":
      // QMP serves one client at a time: this is cprkit.
      if (socket.at === qmpPath) return { fate: "recreated", why: "cprkit's own connection, for asking QEMU" };
      return { fate: "lost", why: "CPR does not carry character devices: the client must connect again" };
    case "connected":
      return { fate: "recreated", why: "the new QEMU connects again, unless the socket was passed from outside" };
    default:
      return { fate: "unknown", why: "not in this network namespace's tables" };
  }
}

/** By link, first match wins. What is carried has been found before. */
const fates: readonly (Fate & { readonly match: RegExp })[] = [
  { match: /^anon_inode:\[?eventfd/, fate: "recreated", why: "event notifier of the process" },
  { match: /^anon_inode:kvm-/, fate: "recreated", why: "the new QEMU makes its own KVM VM" },
  { match: /^anon_inode:\[(vfio-device|iommufd)/, fate: "lost", why: "this QEMU's CPR does not carry VFIO devices" },
  { match: /^anon_inode:/, fate: "recreated", why: "made by QEMU for its own event loop" },
  {
    match: /^\/dev\/net\/tun$/,
    fate: "lost",
    why: "CPR does not carry tap devices, and which network device has it is not known",
  },
  { match: /^\/dev\/(vhost-vsock|vhost-vdpa)/, fate: "lost", why: "held by this QEMU until it ends" },
  { match: /^\/dev\/(vfio\/|iommu$)/, fate: "lost", why: "this QEMU's CPR does not carry VFIO devices" },
  {
    match: /^\/dev\/(ptmx|pts\/)/,
    fate: "recreated",
    why: "a pseudo-terminal under another name: readers must open it again",
  },
  { match: /^\/memfd:/, fate: "recreated", why: "not guest RAM" },
  { match: /^pipe:/, fate: "unknown", why: "a pipe: QEMU's own, or inherited" },
  { match: /\(deleted\)$/, fate: "lost", why: "the file has been removed: it can't be opened again" },
  { match: /^\//, fate: "reopened", why: "by its path" },
];

/** Fds that options name by number: fd=, fds=, vhostfd=, vhostfds=. What -add-fd names QEMU duplicates and closes. */
function passedFds(options: readonly CommandOption[]): Map<number, string> {
  const fds = new Map<number, string>();
  for (const { name, value } of options) {
    if (value === undefined || name === "add-fd") continue;
    for (const [key, text] of objectParts(value)) {
      if (!/^(vhost)?fds?$/.test(key)) continue;
      for (const number of (text ?? "").split(":")) if (/^\d+$/.test(number)) fds.set(Number(number), name);
    }
  }
  return fds;
}

async function fdsetFds(qmp: Qmp): Promise<number[]> {
  return (await qmp.execute("query-fdsets")).flatMap(({ fds }) => fds.map(({ fd }) => fd));
}
