// The one error that cprkit throws. It says what was expected, what was found, at which byte offset and in which
// field, so that a tired operator can act on the first line alone.

/**
 * Every code an error can carry. Append only: a code is never removed, renamed or given another meaning, because
 * programs compare with it. Messages may change, codes may not.
 */
export const errorCodes = [
  // The description itself is wrong (a programmer's mistake), found when it is made.
  "ERR_DESCRIPTION",
  // Loading: the bytes are wrong.
  "ERR_EOF",
  "ERR_VERSION_TOO_NEW",
  "ERR_VERSION_TOO_OLD",
  "ERR_BAD_MAGIC",
  "ERR_BAD_BYTE",
  "ERR_RANGE",
  "ERR_NOT_EQUAL",
  "ERR_COUNT",
  "ERR_LIMIT",
  "ERR_DEPTH",
  "ERR_UNKNOWN_SUBSECTION",
  "ERR_TRAILING_BYTES",
  "ERR_MUST_EXIST",
  "ERR_HOOK",
  "ERR_AMBIGUOUS_ABI",
  "ERR_FD_MISSING",
  "ERR_FD_SURPLUS",
  "ERR_DUPLICATE",
  "ERR_BAD_STREAM",
  // Saving: the state does not fit its description.
  "ERR_VALUE",
  "ERR_NOT_FOR_VERSION",
  // The fd table.
  "ERR_FD_INVALID",
  "ERR_FD_EXISTS",
  "ERR_FD_CONFLICT",
  "ERR_FD_NOT_SAVED",
  // The system.
  "ERR_FFI_UNAVAILABLE",
  "ERR_SYSCALL",
  "ERR_CONTROL_TRUNCATED",
  "ERR_PEER",
  "ERR_PEER_CREDENTIALS",
  "ERR_TIMEOUT",
  "ERR_ABORTED",
  // QEMU.
  "ERR_QEMU_NOT_FOUND",
  "ERR_QEMU_EXITED",
  "ERR_QMP",
  "ERR_QMP_COMMAND",
  "ERR_UPDATE_REFUSED",
  "ERR_UPDATE_FAILED",
  // The command line.
  "ERR_USAGE",
  "ERR_FILE",
] as const;

/** One of {@link errorCodes}. */
export type ErrorCode = (typeof errorCodes)[number];

/** What an error knows beyond its sentence. All of it is plain data. */
export interface ErrorDetails {
  /** Byte offset in the input, from its first byte, where the fault was found. */
  readonly offset?: number | undefined;
  /** Name of the kernel's error, such as "EMFILE". */
  readonly errno?: string | undefined;
  /** The system call that failed, such as "sendmsg". */
  readonly syscall?: string | undefined;
  /** QMP's error class, such as "GenericError". */
  readonly qmpClass?: string | undefined;
  readonly cause?: unknown;
}

const brand = Symbol.for("cprkit.error");

/**
 * The error of every public function of cprkit.
 *
 * `message` is one line: where (field path and byte offset, when there is one), what was expected and found, and
 * the remedy if there is one. `path` is built only when an error is thrown: a load that succeeds pays nothing.
 */
export class CprkitError extends Error {
  readonly code: ErrorCode;
  readonly offset: number | undefined;
  readonly errno: string | undefined;
  readonly syscall: string | undefined;
  readonly qmpClass: string | undefined;
  /** What is wrong, without the place. */
  readonly reason: string;
  readonly #path: (string | number)[] = [];

  constructor(code: ErrorCode, reason: string, details: ErrorDetails = {}) {
    super(reason, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = reason;
    this.offset = details.offset;
    this.errno = details.errno;
    this.syscall = details.syscall;
    this.qmpClass = details.qmpClass;
    Object.defineProperty(this, brand, { value: true });
    this.#say();
  }

  /** Field path from the outermost description, such as "CprState/fds[3]/cpr fd/namelen"; "" when no field is meant. */
  get path(): string {
    let path = "";
    for (const part of this.#path) {
      path += typeof part === "number" ? `[${part}]` : path === "" ? part : `/${part}`;
    }
    return path;
  }

  /** Adds the enclosing field, description or index in front of the path. Called while the error travels outwards. */
  within(part: string | number): this {
    this.#path.unshift(part);
    this.#say();
    return this;
  }

  /** Plain data for `--json` and logs. */
  toJSON(): { code: ErrorCode; message: string; path?: string; offset?: number; errno?: string; syscall?: string } {
    return {
      code: this.code,
      message: this.message,
      ...(this.#path.length === 0 ? {} : { path: this.path }),
      ...(this.offset === undefined ? {} : { offset: this.offset }),
      ...(this.errno === undefined ? {} : { errno: this.errno }),
      ...(this.syscall === undefined ? {} : { syscall: this.syscall }),
    };
  }

  #say(): void {
    const at = this.offset === undefined ? "" : `byte ${this.offset} (0x${this.offset.toString(16)})`;
    const path = this.path;
    const where = path === "" ? at : at === "" ? path : `${path} at ${at}`;
    this.message = where === "" ? this.reason : `${where}: ${this.reason}`;
  }
}

Object.defineProperty(CprkitError.prototype, "name", { value: "CprkitError", writable: true, configurable: true });

/** True for an error of cprkit, also one made by another copy of the package; with `code`, only for that code. */
export function isCprkitError(error: unknown, code?: ErrorCode): error is CprkitError {
  if (typeof error !== "object" || error === null || !(brand in error)) return false;
  // The brand says that it has CprkitError's shape.
  return code === undefined || (error as unknown as CprkitError).code === code;
}
