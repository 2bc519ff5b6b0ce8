// Input that is longer than what is read.

import { CprkitError } from "../vmstate/error.ts";

/** The error for the input `name` that has more than `limit` bytes. */
export function tooLong(name: string, limit: number): CprkitError {
  const mib = limit / 2 ** 20;
  const reason = `it has more than ${Number.isInteger(mib) ? `${mib} MiB` : `${limit} bytes`}; is it the right file?`;
  return new CprkitError("ERR_LIMIT", reason, { offset: limit }).within(name);
}
