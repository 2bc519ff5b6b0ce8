// Which systems the system calls are made on.

import { CprkitError } from "../vmstate/error.ts";

/**
 * Returns where cprkit can make system calls: on 64-bit Linux.
 *
 * @throws CprkitError ERR_FFI_UNAVAILABLE elsewhere
 */
export function requireLinux(): void {
  const { arch, platform } = process;
  if (platform === "linux" && (arch === "x64" || arch === "arm64")) return;
  throw new CprkitError(
    "ERR_FFI_UNAVAILABLE",
    `this needs system calls of Linux, which cprkit makes on linux-x64 and linux-arm64, not on ${platform}-${arch}; ` +
      "reading and writing streams works here without them",
  );
}
