// eventfd(2): the counter that KVM, VFIO and vhost signal interrupts through.

import { libc } from "./ffi/koffi.ts";
import { check } from "./system-error.ts";

/** Options of {@link createEventfd}. */
export interface EventfdOptions {
  /** The counter's first value, 0 to 2³²-1. Default 0. */
  readonly initial?: number | undefined;
  /** True: each read takes 1 from the counter (EFD_SEMAPHORE). Default false: a read takes all of it. */
  readonly semaphore?: boolean | undefined;
  /** Whether execve closes it (EFD_CLOEXEC). Default true. */
  readonly closeOnExec?: boolean | undefined;
  /** Whether reads return EAGAIN instead of waiting (EFD_NONBLOCK). Default true, as QEMU's event notifiers. */
  readonly nonblocking?: boolean | undefined;
}

const efdSemaphore = 0o1;
const efdNonblock = 0o4000;
const efdCloexec = 0o2000000;

/**
 * Creates an eventfd and returns its fd. Source of the flags: eventfd(2).
 *
 * @throws CprkitError ERR_VALUE for an `initial` out of its range, ERR_SYSCALL with EMFILE at the limit of open fds.
 */
export function createEventfd(options: EventfdOptions = {}): number {
  const { initial = 0, semaphore = false, closeOnExec = true, nonblocking = true } = options;
  const flags = (semaphore ? efdSemaphore : 0) | (closeOnExec ? efdCloexec : 0) | (nonblocking ? efdNonblock : 0);
  return check(libc().eventfd(initial, flags), "eventfd", () => "creating an eventfd");
}
