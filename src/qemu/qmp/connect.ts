// Opens the UNIX socket of a QMP monitor. What is in the way is said in QEMU's terms, with what to do about it.

import { connectUnix, type WaitOptions } from "../../linux/index.ts";
import { checkTimeout } from "../../linux/wait/options.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";

/**
 * Connects to the UNIX socket at `path` and returns its fd.
 *
 * @param options `waitMs`, if above 0: how long to wait for a socket that is absent or not listened on, and for a place
 * in its queue of clients; else `timeoutMs` limits the wait for that place.
 * @throws CprkitError ERR_QMP (`errno`), ERR_TIMEOUT (`errno` of the last try), ERR_ABORTED, ERR_VALUE for a time that
 * is negative or NaN.
 */
export async function connectMonitor(
  path: string,
  options: WaitOptions & { readonly waitMs: number; readonly timeoutMs: number },
): Promise<number> {
  const { signal, waitMs } = options;
  const waitForListener = checkTimeout(waitMs) > 0;
  const timeoutMs = waitForListener ? waitMs : checkTimeout(options.timeoutMs);
  try {
    return await connectUnix(path, { signal, timeoutMs, waitForListener });
  } catch (error) {
    if (!isCprkitError(error) || error.code === "ERR_ABORTED" || error.code === "ERR_FFI_UNAVAILABLE") throw error;
    const { errno, syscall, reason } = error;
    const isLate = error.code === "ERR_TIMEOUT";
    const where = `${path}: no QMP monitor can be reached there${isLate ? ` within ${timeoutMs} ms` : ""}`;
    throw new CprkitError(isLate ? "ERR_TIMEOUT" : "ERR_QMP", `${where}: ${remedies[errno ?? ""] ?? reason}`, {
      errno,
      syscall,
      cause: error,
    });
  }
}

const remedies: Readonly<Record<string, string>> = {
  ENOENT:
    "there is no such socket (ENOENT): check the path, and that this QEMU is running and was started with " +
    "-qmp unix:PATH,server=on",
  ECONNREFUSED: "nobody listens there (ECONNREFUSED): QEMU has ended and left it behind, or it is not a QMP socket",
  EACCES: "permission denied (EACCES): run as the user of QEMU, or as root",
  EAGAIN:
    "another client holds this monitor, and more wait for it; QEMU serves one at a time: close that one, or give QEMU " +
    "a second -qmp",
};
