// Starts a child in the pid namespace of another process: pids are given at birth, so the parent must be told before.

import { closeSync, openSync } from "node:fs";
import { libc } from "../ffi/koffi.ts";
import { check } from "../system-error.ts";

const cloneNewpid = 0x2000_0000;

/**
 * Calls `act`, which must be synchronous: the children that it starts are born in the pid namespace of process `pid`
 * (setns(2)). This process stays in its own, and knows the children by their pids there.
 *
 * @throws CprkitError ERR_SYSCALL with EPERM without CAP_SYS_ADMIN, EINVAL for a namespace that is not below our own;
 * what `act` throws, and what open(2) of /proc/PID/ns/pid says
 */
export function inPidNamespaceOf<T>(pid: number, act: () => T): T {
  const own = openSync("/proc/self/ns/pid", "r");
  try {
    const other = openSync(`/proc/${pid}/ns/pid`, "r");
    try {
      enter(other, `of process ${pid}`);
    } finally {
      closeSync(other);
    }
    try {
      return act();
    } finally {
      enter(own, "of this process");
    }
  } finally {
    closeSync(own);
  }
}

function enter(namespace: number, whose: string): void {
  check(libc().setns(namespace, cloneNewpid), "setns", () => `entering the pid namespace ${whose}`);
}
