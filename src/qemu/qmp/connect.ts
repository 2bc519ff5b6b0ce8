// Opens the UNIX socket of a QMP monitor, waiting for it to appear when asked to.

import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { maxSocketPathBytes, type WaitOptions } from "../../linux/index.ts";
import { waitFor } from "../../linux/wait/wait-for.ts";
import { CprkitError, type ErrorCode } from "../../vmstate/error.ts";

const retryMs = 20;

/**
 * Connects to the UNIX socket at `path`.
 *
 * @param options `waitMs`: how long a path that is absent or not listened on is tried again; `timeoutMs`: how long
 * one is tried whose queue of waiting clients is full.
 * @throws CprkitError ERR_QMP (`errno`), ERR_TIMEOUT, ERR_ABORTED.
 */
export async function connectMonitor(
  path: string,
  options: WaitOptions & { readonly waitMs: number; readonly timeoutMs: number },
): Promise<Socket> {
  const bytes = Buffer.byteLength(path);
  if (bytes === 0 || bytes > maxSocketPathBytes) {
    const text = `path of a QMP socket must have 1 to ${maxSocketPathBytes} bytes, found ${bytes}: ${path}`;
    throw new CprkitError("ERR_QMP", `${text}. Use a shorter or a relative path`);
  }
  const started = performance.now();
  for (;;) {
    const result = await tryConnect(path, options);
    if (!(result instanceof Error)) return result;
    const spent = performance.now() - started;
    const limit = absent.has(result.code ?? "") ? options.waitMs : result.code === "EAGAIN" ? options.timeoutMs : 0;
    if (spent >= limit) throw refused(path, result, limit);
    try {
      await sleep(retryMs, undefined, { signal: options.signal });
    } catch (cause) {
      throw new CprkitError("ERR_ABORTED", `${path}: aborted while waiting for the QMP socket`, { cause });
    }
  }
}

const absent = new Set(["ENOENT", "ECONNREFUSED"]);

/** The connected socket, or the system's error as a value. */
function tryConnect(path: string, options: WaitOptions & { readonly timeoutMs: number }) {
  const onTimeout = () => `${path}: no connection within ${options.timeoutMs} ms`;
  return waitFor<Socket | NodeJS.ErrnoException>(`connecting to ${path}`, options, onTimeout, (settle) => {
    const socket = connect({ path });
    let connected = false;
    const onConnect = () => {
      connected = true;
      settle.resolve(socket);
    };
    socket.once("connect", onConnect);
    socket.once("error", settle.resolve);
    return () => {
      socket.off("connect", onConnect);
      if (connected) socket.off("error", settle.resolve);
      else socket.destroy();
    };
  });
}

const remedies: Readonly<Record<string, string>> = {
  ENOENT: "there is no such socket: check the path and that this QEMU was started with -qmp unix:PATH,server=on",
  ECONNREFUSED: "nobody listens there: the QEMU that made it is gone, or it is no socket",
  EACCES: "permission denied: run as the user of QEMU, or as root",
  EAGAIN: "another client holds this monitor and more wait for it: close that one, or give QEMU a second -qmp socket",
};

function refused(path: string, cause: NodeJS.ErrnoException, waitedMs: number): CprkitError {
  const errno = cause.code;
  const waited = waitedMs > 0 ? ` (tried for ${waitedMs} ms)` : "";
  const text = `${path}: ${remedies[errno ?? ""] ?? cause.message}${waited}`;
  const code: ErrorCode = waitedMs > 0 ? "ERR_TIMEOUT" : "ERR_QMP";
  return new CprkitError(code, text, { errno, syscall: "connect", cause });
}
