// eventfd(2): the counter that KVM, VFIO and vhost signal interrupts through.

import { libc } from "./ffi/koffi.ts";
import { check } from "./system-error.ts";

export interface EventfdOptions {
  /** The counter's first value, 0 to 2³²-1. Default 0. */
  readonly initial?: number;
  /** Each read takes 1 from the counter in place of all of it. Default false. */
  readonly semaphore?: boolean;
  /** Default true. */
  readonly closeOnExec?: boolean;
  /** Default true, as QEMU's event notifiers. */
  readonly nonblocking?: boolean;
}

const efdSemaphore = 0o1;
const efdNonblock = 0o4000;
const efdCloexec = 0o2000000;

/** Creates an eventfd. @throws CprkitError ERR_SYSCALL with EMFILE at the limit of open fds */
export function createEventfd(options: EventfdOptions = {}): number {
  const { initial = 0, semaphore = false, closeOnExec = true, nonblocking = true } = options;
  const flags = (semaphore ? efdSemaphore : 0) | (closeOnExec ? efdCloexec : 0) | (nonblocking ? efdNonblock : 0);
  return check(libc().eventfd(initial, flags), "eventfd", () => "creating an eventfd");
}
