// The system calls that cprkit makes, in its own types. One file implements this: ffi/koffi.ts.

/**
 * Every call returns what the kernel returns: a value of at least 0, or minus the error number (-9 for EBADF).
 * Arguments out of their C type's range are refused with a CprkitError before the call.
 */
export interface Libc {
  close(fd: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  flock(fd: number, operation: number): number;
  /** For requests that read and write one buffer. */
  ioctl(fd: number, request: number, buffer: Uint8Array): number;
  /** For requests whose argument is a number. */
  ioctlValue(fd: number, request: number, value: number): number;
  /** SIOCETHTOOL about a network interface, by any socket of its network namespace. */
  ethtool(socket: number, name: string, data: Uint8Array): number;

  /** One sendmsg(2): `bytes`, and `fds` (at most 253) as SCM_RIGHTS. Returns the number of bytes taken. */
  sendmsg(fd: number, bytes: Uint8Array, fds: readonly number[], flags: number): number;
  /** One recvmsg(2) into `buffer`, with room for exactly `maxFds` (at most 253) fds. */
  recvmsg(fd: number, buffer: Uint8Array, maxFds: number, flags: number): ReceivedMessage;

  /** `protocol`: 0 when it is left out. */
  socket(family: number, type: number, protocol?: number): number;
  socketpair(family: number, type: number): number | readonly [number, number];
  /** Binds to the path of a UNIX socket, at most 107 bytes. */
  bind(fd: number, path: Uint8Array): number;
  connect(fd: number, path: Uint8Array): number;
  /** Connects to an address of any family, as the kernel has it. */
  connectTo(fd: number, address: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  accept(fd: number, flags: number): number;
  shutdown(fd: number, how: number): number;
  getsockopt(fd: number, level: number, option: number, value: Int32Array): number;
  setsockopt(fd: number, level: number, option: number, value: Int32Array): number;

  /** Polls one fd without waiting; returns its events. */
  pollNow(fd: number, events: number): number;
  /** 1 for each of `fds` that is not open, by one poll(2) that waits for nothing; undefined: it was refused. Of -1 it says 0. */
  pollClosed(fds: Int32Array): Uint8Array | undefined;
  /** close_range(2): on the fds from `first` to `last`. */
  closeRange(first: number, last: number, flags: number): number;
  epollCreate(): number;
  epollAdd(epoll: number, fd: number, events: number): number;
  epollModify(epoll: number, fd: number, events: number): number;
  epollDelete(epoll: number, fd: number): number;
  /** What is ready now, at most 64 fds; never waits. */
  epollReady(epoll: number): number | readonly { fd: number; events: number }[];
  /**
   * Calls back whenever the event loop sees `fd` readable. It sets O_NONBLOCK on `fd`, so it is only for fds of
   * our own making. The callback must not throw and must not settle promises itself.
   */
  watchReadable(fd: number, callback: () => void): { close(): void };

  memfdCreate(name: string, flags: number): number;
  eventfd(initial: number, flags: number): number;
  execve(path: string, argv: readonly string[], environment: readonly string[]): number;
  /** Sets a signal to its default action (false) or to be ignored (true). */
  setSignalIgnored(signal: number, ignored: boolean): number;
  /** Sets which signals are blocked for the calling thread: a bit each, as the kernel has them. Returns what was set. */
  swapSignalMask(mask: Uint8Array): Uint8Array;
  /** Bytes of a signal mask: the C library's sigset_t. */
  readonly signalMaskBytes: number;
  /** Reads and, when `set` is given, sets a resource limit of this process; all-ones means no limit. */
  prlimit(resource: number, set?: ResourceLimit): number | ResourceLimit;
  /** kcmp(2) for open file descriptions: 0 when both are the same one. */
  kcmpFile(pidA: number, pidB: number, fdA: number, fdB: number): number;
  pidfdOpen(pid: number): number;
  /** Of a thread, by its number: a bit for each CPU that it may run on. */
  setAffinity(tid: number, mask: Uint8Array): number;
  setNice(tid: number, nice: number): number;
  setScheduler(tid: number, policy: number, priority: number): number;
  /** ioprio_get(2): the class from bit 13 on, and the priority. */
  ioPriority(tid: number): number;
  setIoPriority(tid: number, value: number): number;
  /** Moves the calling thread (of a pid namespace: its future children) into the namespace of `fd`. */
  setns(fd: number, kind: number): number;
  pidfdSendSignal(pidfd: number, signal: number): number;
  /** A close-on-exec duplicate of another process's fd. */
  pidfdGetfd(pidfd: number, fd: number): number;
  /** Ends this process at once: no exit handler of a library runs. */
  exitNow(status: number): void;
  /** The C library's text for an error number. */
  strerror(errno: number): string;
}

/** What one recvmsg(2) brought. The fds are open in this process: whoever gets this must pass them on or close them. */
interface ReceivedMessage {
  /** Bytes read, 0 at the end of the stream, or minus the error number. */
  readonly result: number;
  readonly fds: number[];
  /** MSG_CTRUNC: the kernel dropped fds. */
  readonly controlTruncated: boolean;
}

/** Soft and hard limit, in the resource's own unit. */
export interface ResourceLimit {
  readonly soft: bigint;
  readonly hard: bigint;
}
