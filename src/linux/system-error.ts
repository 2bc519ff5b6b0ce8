// Turns an error number into the one error of cprkit, with the limit that was hit and what to do about it.

import { readFileSync } from "node:fs";
import { CprkitError, type ErrorCode } from "../vmstate/error.ts";
import { errno, errnoName } from "./errno.ts";
import { libc } from "./ffi/koffi.ts";
import { describeLimit, getNofileLimit, nofileRemedy } from "./nofile-limit.ts";

/**
 * The error for a system call that returned minus `number`. `what` says in a few words what was being done and to
 * which thing: "sending 16 fds on socket 12".
 */
export function systemError(syscall: string, number: number, what: string): CprkitError {
  const name = errnoName(number);
  const remedy = remedyFor(number);
  const reason = `${what}: ${syscall} failed with ${name} (${libc().strerror(number)})${remedy === "" ? "" : `; ${remedy}`}`;
  return new CprkitError(codeFor(number), reason, { errno: name, syscall });
}

/** Returns a result of at least 0; throws the {@link systemError} of a negative one. */
export function check(result: number, syscall: string, what: () => string): number {
  if (result >= 0) return result;
  throw systemError(syscall, -result, what());
}

function codeFor(number: number): ErrorCode {
  if (number === errno.EPIPE || number === errno.ECONNRESET) return "ERR_PEER";
  return number === errno.EBADF ? "ERR_FD_INVALID" : "ERR_SYSCALL";
}

function remedyFor(number: number): string {
  switch (number) {
    case errno.EMFILE:
      return nofileRemedy();
    case errno.ENFILE:
      return `the whole system may have ${systemFileMax()} files open at once; raise it with \`sysctl -w fs.file-max=N\``;
    case errno.ETOOMANYREFS:
      return (
        "this user has more fds in flight on UNIX sockets than a process without CAP_SYS_RESOURCE or CAP_SYS_ADMIN " +
        `may have: its RLIMIT_NOFILE, ${describeLimit(getNofileLimit())}; let the receiver take what was sent and try ` +
        "again, or raise the limit with `ulimit -n`"
      );
    case errno.EPIPE:
    case errno.ECONNRESET:
      return "the peer closed the connection or died; look at its log";
    case errno.ECONNREFUSED:
      return "nobody listens there; start the receiving side first";
    case errno.EACCES:
    case errno.EPERM:
      return "run as the user who owns it, or as root";
    default:
      return "";
  }
}

function systemFileMax(): string {
  try {
    return readFileSync("/proc/sys/fs/file-max", "utf8").trim();
  } catch {
    return "fs.file-max";
  }
}
