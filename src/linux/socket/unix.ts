// Listening on, connecting to and accepting from UNIX stream sockets with a path, safely: private from the first
// moment, never over another's socket, never blocking the event loop.

import { chmodSync, fchmodSync, lstatSync, mkdirSync, type Stats, statSync, unlinkSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CprkitError } from "../../vmstate/error.ts";
import { errno, errnoName } from "../errno.ts";
import { closeFd } from "../fd.ts";
import { libc } from "../ffi/koffi.ts";
import { maxSocketPathBytes } from "../ffi/layout.ts";
import { statFile } from "../process/stat-file.ts";
import { check, systemError } from "../system-error.ts";
import { checkTimeout, type WaitOptions } from "../wait/options.ts";
import { waitReadable } from "../wait/readiness.ts";
import { afUnix, streamSocket } from "./socket.ts";
import { listeningUnixSockets } from "./unix-table.ts";

/** Options of {@link listenUnix}. */
export interface ListenOptions {
  /** How many connections may wait to be accepted (listen(2)). Default 1, as QEMU's CPR channel. */
  readonly backlog?: number | undefined;
  /** Permissions of the socket file. Default 0o600: only this user, and root, may connect. */
  readonly mode?: number | undefined;
  /** Also require the folder to be private, as {@link privateSocketDir} does. Default false. */
  readonly privateDirectory?: boolean | undefined;
}

/** A listening UNIX socket. */
export interface UnixListener {
  /** Non-blocking and close-on-exec; for `acceptUnix`. */
  readonly fd: number;
  /** Absolute. */
  readonly path: string;
  /** Removes the socket file if it is still this one: nobody else can connect; who has connected can be accepted. */
  withdraw(): void;
  /** Closes the fd and removes the socket file if it is still this one. A second call does nothing. */
  close(): void;
  /** Calls `close`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Listens on `path`. A missing folder is created with mode 0700. A socket file that is there already is replaced only
 * when nobody listens on it.
 *
 * @param path At most 107 bytes.
 * @throws CprkitError ERR_VALUE for a path that is too long, ERR_FILE when something else is at the path, when
 * somebody listens there, when the folder may not be written to, or is not private but should be, ERR_SYSCALL.
 */
export function listenUnix(path: string, options: ListenOptions = {}): UnixListener {
  const { backlog = 1, mode = 0o600, privateDirectory = false } = options;
  const absolute = resolve(path);
  const address = pathBytes(absolute);
  if (privateDirectory) privateSocketDir(dirname(absolute));
  else createDirectory(dirname(absolute));
  removeStaleSocket(absolute, address);

  const c = libc();
  const fd = check(c.socket(afUnix, streamSocket), "socket", () => `listening on ${absolute}`);
  let own: Stats | undefined;
  try {
    // Linux gives the socket file the permissions that the socket has when it is bound: no moment of weaker ones.
    fchmodSync(fd, mode);
    check(c.bind(fd, address), "bind", () => `listening on ${absolute}`);
    own = lstatSync(absolute);
    if ((own.mode & 0o777) !== mode) chmodSync(absolute, mode);
    check(c.listen(fd, backlog), "listen", () => `listening on ${absolute}`);
  } catch (error) {
    closeFd(fd);
    if (own !== undefined) tidyAway(absolute, own);
    throw error;
  }
  const bound = own;
  let closed = false;
  const withdraw = () => {
    if (!closed) tidyAway(absolute, bound);
  };
  const close = () => {
    if (closed) return;
    closed = true;
    closeFd(fd);
    tidyAway(absolute, bound);
  };
  return { fd, path: absolute, withdraw, close, [Symbol.dispose]: close };
}

/**
 * Waits for the next connection and returns its fd, non-blocking and close-on-exec.
 *
 * @param listener The fd of a listening socket that is non-blocking, as listenUnix makes it.
 * @throws CprkitError ERR_TIMEOUT, ERR_ABORTED, ERR_SYSCALL with EMFILE at the limit of open fds.
 */
export async function acceptUnix(listener: number, options: WaitOptions = {}): Promise<number> {
  const c = libc();
  const deadline = deadlineOf(options);
  for (;;) {
    await waitReadable(listener, { signal: options.signal, timeoutMs: deadline() });
    const fd = c.accept(listener, streamSocket & ~1);
    if (fd >= 0) return fd;
    // The client that was waiting has gone, or another process took it.
    if (fd !== -errno.EAGAIN && fd !== -errno.EINTR && fd !== -errno.ECONNABORTED) {
      throw systemError("accept4", -fd, `accepting on socket ${listener}`);
    }
  }
}

/**
 * A connection that waits already, non-blocking and close-on-exec; "none", or "refused" when the kernel gives no fd for
 * one that may be waiting. Never waits, never throws.
 */
export function acceptNow(listener: number): number | "none" | "refused" {
  const fd = libc().accept(listener, streamSocket & ~1);
  if (fd >= 0) return fd;
  return fd === -errno.EAGAIN || fd === -errno.ECONNABORTED ? "none" : "refused";
}

/** Options of {@link connectUnix}. `timeoutMs` limits the whole call; without it there is no limit. */
export interface ConnectOptions extends WaitOptions {
  /** Also wait while nothing is at the path or nobody listens there yet. Default false. */
  readonly waitForListener?: boolean | undefined;
}

/**
 * Connects to `path` and returns the fd, non-blocking and close-on-exec. While the listener's backlog is full it tries
 * again every few milliseconds, for Linux offers nothing to wait for there.
 *
 * @throws CprkitError ERR_SYSCALL with ENOENT or ECONNREFUSED when nobody listens, ERR_VALUE for a path of more than
 * 107 bytes, ERR_TIMEOUT (`errno`: why the last try failed), ERR_ABORTED.
 */
export async function connectUnix(path: string, options: ConnectOptions = {}): Promise<number> {
  const { signal, waitForListener = false } = options;
  const address = pathBytes(path);
  const c = libc();
  const remaining = deadlineOf(options);
  for (let pause = 1; ; pause = Math.min(pause * 2, 20)) {
    if (signal?.aborted === true) throw connectAborted(path, signal);
    const fd = check(c.socket(afUnix, streamSocket), "socket", () => `connecting to ${path}`);
    const connected = c.connect(fd, address);
    if (connected >= 0) return fd;
    closeFd(fd);
    const isAbsent = connected === -errno.ENOENT || connected === -errno.ECONNREFUSED;
    const mayRetry = connected === -errno.EAGAIN || connected === -errno.EINTR || (waitForListener && isAbsent);
    if (!mayRetry) throw systemError("connect", -connected, `connecting to ${path}`);
    const left = remaining();
    if (left === 0) {
      const state = isAbsent ? "nobody listened there" : "its listener accepted nobody (backlog full)";
      throw new CprkitError("ERR_TIMEOUT", `connecting to ${path}: ${state} within ${options.timeoutMs} ms`, {
        errno: errnoName(-connected),
        syscall: "connect",
      });
    }
    try {
      await delay(Math.min(pause, left ?? pause), undefined, signal === undefined ? {} : { signal });
    } catch {
      throw connectAborted(path, signal);
    }
  }
}

/**
 * Makes sure that `directory` is one where only this user can put or replace sockets: creates it with mode 0700, or
 * checks that it is a folder of this user's without permissions for group and others. Returns its absolute path.
 *
 * @throws CprkitError ERR_FILE naming the owner and mode found and the remedy.
 */
export function privateSocketDir(directory: string): string {
  const path = resolve(directory);
  createDirectory(path);
  // Not lstat: a link is fine when what it leads to is private.
  const stat = statSync(path);
  const uid = process.geteuid?.();
  const mode = (stat.mode & 0o777).toString(8).padStart(4, "0");
  if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o077) !== 0) {
    const found = stat.isDirectory() ? `uid ${stat.uid} and mode ${mode}` : "another kind of file";
    throw new CprkitError(
      "ERR_FILE",
      `${path}: expected a folder of uid ${uid} with mode 0700, found ${found}; choose another folder, or ` +
        `\`chmod 700\` it`,
    );
  }
  return path;
}

function createDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new CprkitError("ERR_FILE", `${path}: the folder for the socket cannot be created (${String(cause)})`, {
      cause,
    });
  }
}

function pathBytes(path: string): Uint8Array {
  const bytes = Buffer.from(path, "utf8");
  if (bytes.length >= 1 && bytes.length <= maxSocketPathBytes && !bytes.includes(0)) return bytes;
  throw new CprkitError(
    "ERR_VALUE",
    `socket path ${JSON.stringify(path)}: expected 1 to ${maxSocketPathBytes} bytes (the kernel's limit) without ` +
      `NUL, found ${bytes.length} bytes; choose a shorter path`,
  );
}

function removeStaleSocket(path: string, address: Uint8Array): void {
  const found = onFile(path, "looked at", () => lstatSync(path, { throwIfNoEntry: false }));
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new CprkitError("ERR_FILE", `${path}: expected nothing or an unused socket, found another kind of file`);
  }
  if (isListenedOn(path, found, address)) {
    throw new CprkitError("ERR_FILE", `${path}: another process listens there; stop it, or choose another path`, {
      errno: "EADDRINUSE",
      syscall: "bind",
    });
  }
  onFile(path, "removed (it is a socket that is not in use)", () => unlinkIfSame(path, found));
}

function onFile<T>(path: string, what: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw new CprkitError("ERR_FILE", `${path}: cannot be ${what}: ${String(cause)}; choose another path`, { cause });
  }
}

/**
 * The kernel's list is asked first, for a connection made only to find out would be taken for the client by a QEMU
 * that accepts exactly one. It does not show other network namespaces and shows relative paths as they were given,
 * so a connection is tried where the list is silent.
 */
function isListenedOn(path: string, found: Stats, address: Uint8Array): boolean {
  const isSame = (other: string): boolean => {
    if (other === path) return true;
    // Another user's, that may not be looked at, is not the one asked about.
    const stat = other.startsWith("/") ? statFile(other) : undefined;
    return stat !== undefined && Number(stat.ino) === found.ino && Number(stat.dev) === found.dev;
  };
  if (listeningUnixSockets().some((socket) => isSame(socket.path))) return true;
  const c = libc();
  const probe = check(c.socket(afUnix, streamSocket), "socket", () => `looking for a listener on ${path}`);
  const connected = c.connect(probe, address);
  closeFd(probe);
  return connected !== -errno.ECONNREFUSED && connected !== -errno.ENOENT;
}

function unlinkIfSame(path: string, socket: Stats): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.ino === socket.ino && found.dev === socket.dev) unlinkSync(path);
}

/** As {@link unlinkIfSame}; a file that cannot be removed stays: the next who listens there replaces it. */
function tidyAway(path: string, socket: Stats): void {
  try {
    unlinkIfSame(path, socket);
  } catch {
    // A folder that was made read-only meanwhile must not keep the fds that are closed after this open.
  }
}

/** Milliseconds left of a wait that may take several steps; undefined without a timeout. */
function deadlineOf(options: WaitOptions): () => number | undefined {
  const timeoutMs = checkTimeout(options.timeoutMs);
  if (timeoutMs === undefined) return () => undefined;
  const end = performance.now() + timeoutMs;
  return () => Math.max(0, Math.ceil(end - performance.now()));
}

function connectAborted(path: string, signal: AbortSignal | undefined): CprkitError {
  return new CprkitError("ERR_ABORTED", `connecting to ${path} was aborted`, { cause: signal?.reason });
}
