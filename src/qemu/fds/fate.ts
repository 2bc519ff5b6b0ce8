// An fd of a running QEMU, and what becomes of it.

/**
 * What becomes of an fd in a cpr-transfer or cpr-exec update.
 *
 * - carried: CPR hands it to the new QEMU under `name` and `id`.
 * - handed: cprkit hands it to the new QEMU, as CPR does not carry it, under a name and id of its own.
 * - reopened: the new QEMU opens the same path.
 * - recreated: the new QEMU creates its own; nothing is missing.
 * - inherited: comes from whoever starts the new QEMU (stdin, stdout, stderr).
 * - lost: neither carried nor recreated.
 * - unknown: can't be seen from outside.
 */
export type FdFate = "carried" | "handed" | "reopened" | "recreated" | "inherited" | "lost" | "unknown";

/** One fd of a running QEMU. */
export interface VmFd {
  /** Its number in QEMU. */
  readonly fd: number;
  /** The link of /proc/PID/fd/N. */
  readonly link: string;
  /** For people, such as "memfd:pc.ram" or "UNIX socket listening at /run/vm.sock". */
  readonly what: string;
  /** What becomes of it in an update. */
  readonly fate: FdFate;
  /** Carried or handed: the name in CprState. Absent where it can't be seen from outside. */
  readonly name?: string;
  /** Carried or handed: the id in CprState. */
  readonly id?: number;
  /** Why this fate, in a few words. */
  readonly why: string;
}

/** An fd's fate, with the rest of what is said of it. */
export type Fate = Pick<VmFd, "fate" | "name" | "id" | "why">;
