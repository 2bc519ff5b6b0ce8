// The one file that knows koffi. It checks every argument, for koffi checks no integer's range, and reads errno in
// the same synchronous step as the call, for any other call in between may change it.

import { createRequire } from "node:module";
import { CprkitError } from "../../vmstate/error.ts";
import { asFd, isFd } from "../as-fd.ts";
import { errno } from "../errno.ts";
import { requireLinux } from "../system.ts";
import { atExit } from "./at-exit.ts";
import {
  controlLength,
  controlSpace,
  epollEvent,
  iovec,
  maxFdsPerMessage,
  maxSocketPathBytes,
  msghdr,
  readControl,
  sockaddrUn,
  writeControl,
} from "./layout.ts";
import type { Libc } from "./libc.ts";

type Koffi = typeof import("koffi");

let loaded: Libc | undefined;

/**
 * The system calls. koffi is loaded at the first use, not when this module is imported.
 *
 * @throws CprkitError ERR_FFI_UNAVAILABLE where koffi cannot be loaded or the system is not 64-bit Linux.
 */
export function libc(): Libc {
  loaded ??= makeLibc(loadKoffi());
  atExit.end ??= (status) => loaded?.exitNow(status);
  return loaded;
}

/**
 * Puts something of one's own between cprkit and the kernel, for tests of what the kernel may answer.
 *
 * @returns puts back what was there
 * @internal
 */
export function interpose(between: (real: Libc) => Libc): () => void {
  const real = libc();
  loaded = between(real);
  return () => {
    loaded = real;
  };
}

function loadKoffi(): Koffi {
  requireLinux();
  try {
    // createRequire returns an untyped function; koffi's own declarations give its shape.
    return createRequire(import.meta.url)("koffi") as Koffi;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new CprkitError(
      "ERR_FFI_UNAVAILABLE",
      `the npm package koffi, which cprkit makes system calls through, cannot be loaded on ${process.platform}-${process.arch} ` +
        `(Node ${process.version}): ${why}; install it next to cprkit with "npm install koffi@3.3.4", without --omit=optional`,
      { cause },
    );
  }
}

/** The file by which another Node loads koffi. @throws CprkitError ERR_FFI_UNAVAILABLE */
export function koffiFile(): string {
  loadKoffi();
  return createRequire(import.meta.url).resolve("koffi");
}

const msgCtrunc = 0x8;
const pollNval = 0x20;
const afUnix = 1;
const epollReadyMax = 64;
const siocEthtool = 0x8946;
/** struct ifreq of a 64-bit system: 16 bytes of name, then here a pointer. */
const interfaceRequest = { bytes: 40, data: 16 };
const syscallNumbers = {
  kcmp: process.arch === "x64" ? 312 : 272,
  ioprioGet: process.arch === "x64" ? 252 : 31,
  ioprioSet: process.arch === "x64" ? 251 : 30,
  pidfdSendSignal: 424,
  pidfdOpen: 434,
  closeRange: 436,
  pidfdGetfd: 438,
} as const;

function makeLibc(koffi: Koffi): Libc {
  const library = koffi.load(null);
  // koffi types its functions with `any`; these lines say what they are.
  const c: {
    close(fd: number): number;
    fcntl(fd: number, command: number, argument: number): number;
    flock(fd: number, operation: number): number;
    ioctl(fd: number, request: number, buffer: Uint8Array): number;
    ioctlValue(fd: number, request: number, value: number): number;
    sendmsg(fd: number, message: Uint8Array, flags: number): number;
    recvmsg(fd: number, message: Uint8Array, flags: number): number;
    socket(family: number, type: number, protocol: number): number;
    socketpair(family: number, type: number, protocol: number, pair: Int32Array): number;
    bind(fd: number, address: Uint8Array, length: number): number;
    connect(fd: number, address: Uint8Array, length: number): number;
    listen(fd: number, backlog: number): number;
    accept4(fd: number, address: null, length: null, flags: number): number;
    shutdown(fd: number, how: number): number;
    getsockopt(fd: number, level: number, option: number, value: Int32Array, length: Uint32Array): number;
    setsockopt(fd: number, level: number, option: number, value: Int32Array, length: number): number;
    poll(fds: Uint8Array, count: number, timeout: number): number;
    epollCreate1(flags: number): number;
    epollCtl(epoll: number, operation: number, fd: number, event: Uint8Array): number;
    epollWait(epoll: number, events: Uint8Array, max: number, timeout: number): number;
    memfdCreate(name: Uint8Array, flags: number): number;
    eventfd(initial: number, flags: number): number;
    execve(path: Uint8Array, argv: BigUint64Array, environment: BigUint64Array): number;
    signal(signal: number, action: number): number;
    sigprocmask(how: number, set: Uint8Array, old: Uint8Array): number;
    prlimit(pid: number, resource: number, set: BigUint64Array | null, old: BigUint64Array): number;
    setns(fd: number, kind: number): number;
    schedSetaffinity(tid: number, length: number, mask: Uint8Array): number;
    schedSetscheduler(tid: number, policy: number, parameters: Int32Array): number;
    setpriority(which: number, who: number, nice: number): number;
    syscall(number: number, a: number, b: number, c: number, d: number, e: number): number;
    exit(status: number): void;
    strerror(errno: number): string;
  } = {
    close: library.func("int close(int)"),
    fcntl: library.func("int fcntl(int, int, int)"),
    flock: library.func("int flock(int, int)"),
    ioctl: library.func("int ioctl(int, unsigned long, void *)"),
    ioctlValue: library.func("int ioctl(int, unsigned long, unsigned long)"),
    sendmsg: library.func("long sendmsg(int, const void *, int)"),
    recvmsg: library.func("long recvmsg(int, void *, int)"),
    socket: library.func("int socket(int, int, int)"),
    socketpair: library.func("int socketpair(int, int, int, void *)"),
    bind: library.func("int bind(int, const void *, uint32_t)"),
    connect: library.func("int connect(int, const void *, uint32_t)"),
    listen: library.func("int listen(int, int)"),
    accept4: library.func("int accept4(int, void *, void *, int)"),
    shutdown: library.func("int shutdown(int, int)"),
    getsockopt: library.func("int getsockopt(int, int, int, void *, void *)"),
    setsockopt: library.func("int setsockopt(int, int, int, const void *, uint32_t)"),
    poll: library.func("int poll(void *, unsigned long, int)"),
    epollCreate1: library.func("int epoll_create1(int)"),
    epollCtl: library.func("int epoll_ctl(int, int, int, void *)"),
    epollWait: library.func("int epoll_wait(int, void *, int, int)"),
    memfdCreate: library.func("int memfd_create(const void *, unsigned int)"),
    eventfd: library.func("int eventfd(unsigned int, int)"),
    execve: library.func("int execve(const void *, const void *, const void *)"),
    signal: library.func("intptr_t signal(int, intptr_t)"),
    sigprocmask: library.func("int sigprocmask(int, const void *, void *)"),
    prlimit: library.func("int prlimit(int, int, const void *, void *)"),
    schedSetaffinity: library.func("int sched_setaffinity(int, unsigned long, const void *)"),
    schedSetscheduler: library.func("int sched_setscheduler(int, int, const void *)"),
    setpriority: library.func("int setpriority(int, int, int)"),
    setns: library.func("int setns(int, int)"),
    syscall: library.func("long syscall(long, long, long, long, long, long)"),
    exit: library.func("void _exit(int)"),
    strerror: library.func("const char *strerror(int)"),
  };

  const result = (value: number): number => (value < 0 ? -koffi.errno() : value);

  // One native message header for sending and one for receiving, used again for every call: calls are synchronous,
  // and V8 does not move an ArrayBuffer's memory.
  const outgoing = makeMessage(koffi);
  const incoming = makeMessage(koffi);
  const event = epollEvent(process.arch);
  const eventBytes = new Uint8Array(event.size * epollReadyMax);
  const eventView = new DataView(eventBytes.buffer);
  const pollBytes = new Uint8Array(8);
  const pollView = new DataView(pollBytes.buffer);

  const epollControl = (epoll: number, operation: number, fd: number, events: number): number => {
    eventView.setUint32(event.events, uint(events, "events"), true);
    eventView.setBigUint64(event.data, BigInt(asFd(fd)), true);
    return result(c.epollCtl(asFd(epoll, "epoll fd"), operation, fd, eventBytes));
  };

  return {
    close: (fd) => result(c.close(asFd(fd))),
    fcntl: (fd, command, argument) => result(c.fcntl(asFd(fd), int(command, "command"), int(argument, "argument"))),
    ioctl: (fd, request, buffer) => result(c.ioctl(asFd(fd), uint(request, "request"), buffer)),
    ioctlValue: (fd, request, value) => result(c.ioctlValue(asFd(fd), uint(request, "request"), uint(value, "value"))),
    ethtool(socket, name, data) {
      const request = Buffer.alloc(interfaceRequest.bytes);
      request.write(name, 0, interfaceRequest.data - 1, "latin1");
      request.writeBigUInt64LE(koffi.address(data), interfaceRequest.data);
      return result(c.ioctl(asFd(socket, "socket"), siocEthtool, request));
    },
    flock: (fd, operation) => result(c.flock(asFd(fd), int(operation, "operation"))),

    sendmsg(fd, bytes, fds, flags) {
      asFd(fd, "socket");
      int(flags, "flags");
      if (fds.length > maxFdsPerMessage) throw valueError("fds.length", `at most ${maxFdsPerMessage}`, fds.length);
      // The name is made for an error alone: it was most of the check.
      for (let i = 0; i < fds.length; i++) if (!isFd(fds[i])) asFd(fds[i], `fds[${i}]`);
      const { view } = outgoing;
      outgoing.setData(bytes);
      const control = fds.length === 0 ? 0 : writeControl(view, messageControlAt, fds);
      view.setUint32(msghdr.controlLength, control, true);
      const sent = result(c.sendmsg(fd, outgoing.bytes, flags));
      outgoing.held = noData;
      return sent;
    },

    recvmsg(fd, buffer, maxFds, flags) {
      asFd(fd, "socket");
      int(flags, "flags");
      intBetween(maxFds, "maxFds", 0, maxFdsPerMessage);
      const { view } = incoming;
      incoming.setData(buffer);
      // The exact length, without the padding at the end: the kernel would put one more fd into that.
      view.setUint32(msghdr.controlLength, maxFds === 0 ? 0 : controlLength(maxFds), true);
      const read = result(c.recvmsg(fd, incoming.bytes, flags));
      incoming.held = noData;
      if (read < 0) return { result: read, fds: [], controlTruncated: false };
      return {
        result: read,
        fds: readControl(view, messageControlAt, view.getUint32(msghdr.controlLength, true)),
        controlTruncated: (view.getInt32(msghdr.flags, true) & msgCtrunc) !== 0,
      };
    },

    socket: (family, type, protocol = 0) =>
      result(c.socket(int(family, "family"), int(type, "type"), int(protocol, "protocol"))),
    socketpair(family, type) {
      const pair = new Int32Array(2);
      const made = result(c.socketpair(int(family, "family"), int(type, "type"), 0, pair));
      return made < 0 ? made : [asFd(pair[0]), asFd(pair[1])];
    },
    bind(fd, path) {
      const address = socketAddress(path);
      return result(c.bind(asFd(fd), address, address.length));
    },
    connect(fd, path) {
      const address = socketAddress(path);
      return result(c.connect(asFd(fd), address, address.length));
    },
    connectTo: (fd, address) => result(c.connect(asFd(fd), address, address.length)),
    listen: (fd, backlog) => result(c.listen(asFd(fd), int(backlog, "backlog"))),
    accept: (fd, flags) => result(c.accept4(asFd(fd), null, null, int(flags, "flags"))),
    shutdown: (fd, how) => result(c.shutdown(asFd(fd), int(how, "how"))),
    getsockopt(fd, level, option, value) {
      const length = new Uint32Array([value.byteLength]);
      return result(c.getsockopt(asFd(fd), int(level, "level"), int(option, "option"), value, length));
    },
    setsockopt: (fd, level, option, value) =>
      result(c.setsockopt(asFd(fd), int(level, "level"), int(option, "option"), value, value.byteLength)),

    pollNow(fd, events) {
      pollView.setInt32(0, asFd(fd), true);
      pollView.setUint16(4, intBetween(events, "events", 0, 0xffff), true);
      pollView.setUint16(6, 0, true);
      // Linux says EINTR also without a wait, when a signal (a child's end, Ctrl-C) comes in while nothing is ready.
      for (;;) {
        const ready = result(c.poll(pollBytes, 1, 0));
        if (ready !== -errno.EINTR) return ready < 0 ? ready : pollView.getUint16(6, true);
      }
    },
    pollClosed(fds) {
      const words = new Int32Array(fds.length * 2);
      for (let at = 0; at < fds.length; at++) words[at * 2] = fds[at] as number;
      const bytes = new Uint8Array(words.buffer);
      let ready: number;
      do ready = result(c.poll(bytes, fds.length, 0));
      while (ready === -errno.EINTR);
      if (ready < 0) return undefined;
      const closed = new Uint8Array(fds.length);
      // Events are in the second word: those asked for (none), and above them those that came.
      for (let at = 0; ready > 0 && at < fds.length; at++)
        if (((words[at * 2 + 1] as number) >>> 16) & pollNval) closed[at] = 1;
      return closed;
    },
    closeRange: (first, last, flags) =>
      result(c.syscall(syscallNumbers.closeRange, asFd(first), asFd(last), uint(flags, "flags"), 0, 0)),
    epollCreate: () => result(c.epollCreate1(oCloexec)),
    epollAdd: (epoll, fd, events) => epollControl(epoll, 1, fd, events),
    epollDelete: (epoll, fd) => epollControl(epoll, 2, fd, 0),
    epollModify: (epoll, fd, events) => epollControl(epoll, 3, fd, events),
    epollReady(epoll) {
      const count = result(c.epollWait(asFd(epoll, "epoll fd"), eventBytes, epollReadyMax, 0));
      if (count < 0) return count;
      return Array.from({ length: count }, (_, i) => ({
        fd: Number(eventView.getBigUint64(i * event.size + event.data, true)),
        events: eventView.getUint32(i * event.size + event.events, true),
      }));
    },
    watchReadable(fd, callback) {
      const handle = koffi.node.poll(asFd(fd), { readable: true }, callback);
      return { close: () => handle.close() };
    },

    memfdCreate: (name, flags) => result(c.memfdCreate(cString(name, "name"), uint(flags, "flags"))),
    eventfd: (initial, flags) => result(c.eventfd(uint(initial, "initial"), int(flags, "flags"))),
    execve(path, argv, environment) {
      const argvList = stringList(koffi, argv, "argv");
      const environmentList = stringList(koffi, environment, "environment");
      return result(c.execve(cString(path, "path"), argvList, environmentList));
    },
    setSignalIgnored: (signal, ignored) => {
      const before = result(c.signal(intBetween(signal, "signal", 1, 64), ignored ? sigIgn : sigDfl));
      return Math.min(before, 0);
    },
    signalMaskBytes,
    swapSignalMask(mask) {
      if (mask.length !== signalMaskBytes) throw valueError("mask.length", `${signalMaskBytes}`, mask.length);
      const old = new Uint8Array(signalMaskBytes);
      // Fails only for an unknown `how`.
      c.sigprocmask(sigSetmask, mask, old);
      return old;
    },
    prlimit(resource, set) {
      const old = new BigUint64Array(2);
      const wanted =
        set === undefined ? null : new BigUint64Array([uint64(set.soft, "soft"), uint64(set.hard, "hard")]);
      const done = result(c.prlimit(0, int(resource, "resource"), wanted, old));
      return done < 0 ? done : { soft: old[0] ?? 0n, hard: old[1] ?? 0n };
    },
    kcmpFile: (pidA, pidB, fdA, fdB) =>
      result(c.syscall(syscallNumbers.kcmp, asPid(pidA), asPid(pidB), kcmpFileType, asFd(fdA), asFd(fdB))),
    setAffinity: (tid, mask) => result(c.schedSetaffinity(asPid(tid), mask.length, mask)),
    setNice: (tid, nice) => result(c.setpriority(0, asPid(tid), int(nice, "nice"))),
    setScheduler: (tid, policy, priority) =>
      result(c.schedSetscheduler(asPid(tid), int(policy, "policy"), new Int32Array([int(priority, "priority")]))),
    ioPriority: (tid) => result(c.syscall(syscallNumbers.ioprioGet, ioprioWhoProcess, asPid(tid), 0, 0, 0)),
    setIoPriority: (tid, value) =>
      result(c.syscall(syscallNumbers.ioprioSet, ioprioWhoProcess, asPid(tid), int(value, "value"), 0, 0)),
    setns: (fd, kind) => result(c.setns(asFd(fd), int(kind, "kind"))),
    pidfdOpen: (pid) => result(c.syscall(syscallNumbers.pidfdOpen, asPid(pid), 0, 0, 0, 0)),
    pidfdSendSignal: (pidfd, signal) =>
      result(
        c.syscall(syscallNumbers.pidfdSendSignal, asFd(pidfd, "pidfd"), intBetween(signal, "signal", 0, 64), 0, 0, 0),
      ),
    pidfdGetfd: (pidfd, fd) => result(c.syscall(syscallNumbers.pidfdGetfd, asFd(pidfd, "pidfd"), asFd(fd), 0, 0, 0)),
    exitNow: (status) => c.exit(intBetween(status, "status", 0, 255)),
    strerror: (number) => c.strerror(int(number, "errno")),
  };
}

const oCloexec = 0o2000000;
const sigDfl = 0;
const sigIgn = 1;
const sigSetmask = 2;
const signalMaskBytes = 128;
const kcmpFileType = 0;
const ioprioWhoProcess = 1;

const messageIovecAt = msghdr.size;
const messageControlAt = msghdr.size + iovec.size;

const noData = new Uint8Array(0);

interface Message {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Points the iovec at `data` and keeps it from being collected until the next call of setData. */
  setData(data: Uint8Array): void;
  held: Uint8Array;
}

/** A message header, its one iovec and its control buffer, in one block whose pointers are set once. */
function makeMessage(koffi: Koffi): Message {
  const bytes = new Uint8Array(messageControlAt + controlSpace(maxFdsPerMessage));
  const view = new DataView(bytes.buffer);
  const base = koffi.address(bytes);
  view.setBigUint64(msghdr.iov, base + BigInt(messageIovecAt), true);
  view.setBigUint64(msghdr.iovLength, 1n, true);
  view.setBigUint64(msghdr.control, base + BigInt(messageControlAt), true);
  // Where the memory of the data set last begins: a stream is sent and received piece by piece from one memory, and to ask
  // for its address was a fifth of a message.
  let memory = new WeakRef<ArrayBufferLike>(bytes.buffer);
  let begin = Number(base);
  return {
    bytes,
    view,
    held: noData,
    setData(data) {
      this.held = data;
      // An empty array may have no memory of its own; length 0 makes the kernel ignore the address.
      if (data.length > 0 && memory.deref() !== data.buffer) {
        memory = new WeakRef(data.buffer);
        begin = Number(koffi.address(data)) - data.byteOffset;
      }
      setNumber64(view, messageIovecAt + iovec.base, data.length === 0 ? Number(base) : begin + data.byteOffset);
      setNumber64(view, messageIovecAt + iovec.length, data.length);
    },
  };
}

/** An integer of 64 bits that a number holds exactly. */
function setNumber64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

function socketAddress(path: Uint8Array): Uint8Array {
  if (path.length === 0 || path.length > maxSocketPathBytes || path.includes(0)) {
    throw valueError("path", `1 to ${maxSocketPathBytes} bytes without NUL`, `${path.length} bytes`);
  }
  const address = new Uint8Array(sockaddrUn.path + path.length + 1);
  new DataView(address.buffer).setUint16(sockaddrUn.family, afUnix, true);
  address.set(path, sockaddrUn.path);
  return address;
}

/** A NULL-terminated array of pointers to strings, with the strings behind it in the same block of memory. */
function stringList(koffi: Koffi, strings: readonly string[], what: string): BigUint64Array {
  const items = strings.map((text, i) => cString(text, `${what}[${i}]`));
  const pointersLength = 8 * (items.length + 1);
  const block = new ArrayBuffer(items.reduce((sum, item) => sum + item.length, pointersLength));
  const pointers = new BigUint64Array(block, 0, items.length + 1);
  const bytes = new Uint8Array(block);
  const base = koffi.address(bytes);
  let at = pointersLength;
  for (const [i, item] of items.entries()) {
    bytes.set(item, at);
    pointers[i] = base + BigInt(at);
    at += item.length;
  }
  return pointers;
}

function cString(text: string, what: string): Uint8Array {
  if (typeof text !== "string" || text.includes("\0")) {
    throw valueError(what, "a string without NUL", JSON.stringify(text));
  }
  return Buffer.from(`${text}\0`, "utf8");
}

function int(value: number, what: string): number {
  return intBetween(value, what, -0x8000_0000, 0x7fff_ffff);
}

function uint(value: number, what: string): number {
  return intBetween(value, what, 0, 0xffff_ffff);
}

function asPid(value: number): number {
  return intBetween(value, "pid", 1, 0x7fff_ffff);
}

function intBetween(value: number, what: string, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw valueError(what, `an integer from ${min} to ${max}`, value);
}

function uint64(value: bigint, what: string): bigint {
  if (typeof value === "bigint" && value >= 0n && value <= 0xffff_ffff_ffff_ffffn) return value;
  throw valueError(what, "a bigint from 0 to 2 ** 64 - 1", String(value));
}

function valueError(what: string, expected: string, found: string | number): CprkitError {
  return new CprkitError("ERR_VALUE", `${what}: expected ${expected}, found ${found}`);
}
