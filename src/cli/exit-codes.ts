// What the exit code of every command means.

import type { ErrorCode } from "../vmstate/error.ts";

/** `lost`: of `ensure` alone, for who acts on it must not take it for a refusal. */
export const exitCodes = { fine: 0, finding: 1, usage: 2, badInput: 3, refused: 4, lost: 5 } as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The exit code for an error: whose fault it is. */
export function exitCodeOf(code: ErrorCode): ExitCode {
  if (code === "ERR_USAGE") return exitCodes.usage;
  return ofTheSystem.has(code) ? exitCodes.refused : exitCodes.badInput;
}

const ofTheSystem: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "ERR_FFI_UNAVAILABLE",
  "ERR_SYSCALL",
  "ERR_CONTROL_TRUNCATED",
  "ERR_PEER",
  "ERR_PEER_CREDENTIALS",
  "ERR_TIMEOUT",
  "ERR_ABORTED",
  "ERR_QEMU_NOT_FOUND",
  "ERR_QEMU_EXITED",
  "ERR_QMP",
  "ERR_QMP_COMMAND",
  "ERR_UPDATE_REFUSED",
  "ERR_UPDATE_FAILED",
  "ERR_FILE",
]);
