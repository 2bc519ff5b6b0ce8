// Names of the kernel's error numbers. x64 and arm64 share one numbering.

import { constants } from "node:os";
import { getSystemErrorName } from "node:util";

/** The numbers that this folder compares with; ETOOMANYREFS is one of those that Node has no name for. */
export const errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EBADF: 9,
  EAGAIN: 11,
  EACCES: 13,
  EEXIST: 17,
  ENFILE: 23,
  EMFILE: 24,
  EPIPE: 32,
  ENOSYS: 38,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ETOOMANYREFS: 109,
  ECONNREFUSED: 111,
  EINPROGRESS: 115,
} as const;

const names = new Map<number, string>();
for (const [name, number] of Object.entries({ ...constants.errno, ...errno })) {
  // EWOULDBLOCK and EOPNOTSUPP are second names of EAGAIN and ENOTSUP: the first name stays.
  if (!names.has(number)) names.set(number, name);
}

/** Name of a positive error number, such as "EMFILE"; "errno 4711" for one without a name. */
export function errnoName(number: number): string {
  const known = names.get(number);
  if (known !== undefined) return known;
  const name = number > 0 ? getSystemErrorName(-number) : "";
  return name.startsWith("E") ? name : `errno ${number}`;
}
