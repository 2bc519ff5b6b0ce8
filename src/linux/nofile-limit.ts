// RLIMIT_NOFILE: how many fds this process may have open at once.

import { CprkitError } from "../vmstate/error.ts";
import { errnoName } from "./errno.ts";
import { libc } from "./ffi/koffi.ts";
import type { ResourceLimit } from "./ffi/libc.ts";

/** Numbers of fds; Infinity where there is no limit. */
export interface NofileLimit {
  /** What the kernel enforces. */
  readonly soft: number;
  /** How far the soft limit may be raised without privileges. */
  readonly hard: number;
}

const rlimitNofile = 7;
const unlimited = 0xffff_ffff_ffff_ffffn;

/** RLIMIT_NOFILE of this process (getrlimit(2)). Node raises the soft limit to the hard one when it starts. */
export function getNofileLimit(): NofileLimit {
  return fromKernel(prlimit());
}

/**
 * Sets the limit of this process; fds above a lowered limit stay open.
 *
 * @throws CprkitError ERR_SYSCALL with EPERM for a hard limit above the present one without CAP_SYS_RESOURCE, ERR_VALUE
 * for what is not a number of fds.
 */
export function setNofileLimit(limit: NofileLimit): void {
  prlimit({ soft: toKernel(limit.soft, "soft"), hard: toKernel(limit.hard, "hard") });
}

/** Raises the soft limit to the hard one and returns the limit that holds then. @throws CprkitError ERR_SYSCALL */
export function raiseNofileLimit(): NofileLimit {
  const limit = getNofileLimit();
  if (limit.soft < limit.hard) setNofileLimit({ soft: limit.hard, hard: limit.hard });
  return getNofileLimit();
}

/** For errors: what the limit is and how to raise it. */
export function nofileRemedy(): string {
  return (
    `this process may have ${describeLimit(getNofileLimit())} fds open at once (RLIMIT_NOFILE); raise it with ` +
    "`ulimit -n`, LimitNOFILE= in a systemd unit, or raiseNofileLimit()"
  );
}

/** "1024 (hard limit 4096)". */
export function describeLimit(limit: NofileLimit): string {
  return limit.soft === limit.hard ? `${limit.soft}` : `${limit.soft} (hard limit ${limit.hard})`;
}

function prlimit(set?: ResourceLimit): ResourceLimit {
  const limit = libc().prlimit(rlimitNofile, set);
  if (typeof limit !== "number") return limit;
  const name = errnoName(-limit);
  const wanted = set === undefined ? "reading" : `setting to ${set.soft} (hard ${set.hard})`;
  throw new CprkitError(
    "ERR_SYSCALL",
    `RLIMIT_NOFILE: ${wanted} failed with ${name}; the hard limit may be raised by root only, and to fs.nr_open at most`,
    { errno: name, syscall: "prlimit" },
  );
}

function fromKernel(limit: ResourceLimit): NofileLimit {
  const number = (value: bigint) => (value === unlimited ? Number.POSITIVE_INFINITY : Number(value));
  return { soft: number(limit.soft), hard: number(limit.hard) };
}

function toKernel(value: number, what: string): bigint {
  if (value === Number.POSITIVE_INFINITY) return unlimited;
  if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  throw new CprkitError("ERR_VALUE", `${what}: expected a number of fds from 0, or Infinity, found ${value}`);
}
