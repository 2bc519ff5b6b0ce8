// What is in the way of an update: the codes that programs compare with, and the shape of a finding.

/**
 * Every code of a finding and what it means. Append only: a code is never removed, renamed or given another meaning.
 * docs/preflight.md has the same list.
 */
export const findingCodes = {
  // The running VM.
  "run-state": "the VM is in a state in which QEMU refuses to migrate",
  "migration-active": "a migration or update of this VM is under way",
  "capability-conflict": "a migration capability is on that does not go with CPR",
  "mode-unsupported": "the running QEMU does not know this CPR mode",
  "qemu-blocker": "QEMU itself reports what blocks this mode",
  sandbox: "-sandbox spawn=deny forbids the exec that cpr-exec needs",
  // Guest memory.
  "aux-ram-share-off": "the machine was started without aux-ram-share=on",
  "memory-not-shared": "guest RAM without a backend, or in one without share=on",
  "memory-file": "guest RAM in a file without a name, which the new program can't open",
  "discard-data": "discard-data=on empties guest RAM when the old QEMU ends",
  "ram-copied": "cpr-reboot would copy guest RAM through the state file",
  // Devices and what they hold.
  vfio: "a VFIO device, and one of the two QEMUs does not carry VFIO devices",
  "vfio-not-suspended": "cpr-reboot with a VFIO device needs a suspended guest",
  "tap-held": "a tap interface that only one QEMU can hold",
  "tap-queues": "a tap interface with several queues, which both QEMUs serve for a while",
  "tap-script": "a script that undoes the set-up of a tap interface is not run any more",
  "device-held": "a device of the host that only one QEMU can hold",
  "qemu-crash": "QEMU is known to crash when it hands this device over",
  "vhost-user": "a vhost-user backend must accept the new QEMU while the old one is connected",
  "net-peer": "what a network is connected to may serve only the running QEMU",
  "device-hotplugged": "a device that is not on the command line",
  "device-unplugged": "a device of the command line that is no longer in the VM",
  "options-unseen": "something was added since the start, and QEMU does not tell how",
  "tpm-emulator": "a TPM emulator that serves only the running QEMU",
  password: "a display asks for a password that QEMU does not tell",
  "watchdog-action": "what the watchdog does may have been set, and QEMU does not tell it",
  "chardev-client": "a client is connected, and its connection will be closed",
  pty: "a pseudo-terminal gets another name",
  "fd-option": "an option names an fd that the parent process passed",
  "port-taken": "an option listens on a port that the running QEMU holds",
  "parent-exit": "the new QEMU does not end with the program that started the old one",
  chroot: "the running QEMU sees another root folder",
  stdio: "an option uses standard input or output",
  // The new QEMU.
  "new-unusable": "the new QEMU can't be started or does not answer",
  "new-mode-unsupported": "the new QEMU does not know this CPR mode",
  "machine-missing": "the new QEMU does not have the machine type",
  "machine-alias": "the machine's short name means another type in the new QEMU",
  "machine-unversioned": "the machine type has no version, and the two QEMUs differ",
  "device-missing": "the new QEMU does not have a device model",
  "object-missing": "the new QEMU does not have an object type",
  "accelerator-missing": "the new QEMU does not have the accelerator in use",
  "going-back": "the new QEMU is older than the running one",
  "downgrade-exec": "cpr-exec can't write the CPR state for an older QEMU",
  "device-state": "the new QEMU does not take a device's state as the running one describes it",
  // Files and sockets.
  "binary-replaced": "the running QEMU's program file has been replaced or removed",
  "file-missing": "a file that the new QEMU must open is not there",
  "file-replaced": "a path leads to another file than the one that QEMU has open",
  "file-changed": "a file that QEMU read at its start has changed since",
  "file-emptied": "the new QEMU would empty a file",
  "disk-changed": "a disk image in use is not on the command line",
  "block-job": "a block job is running, and would end with the old QEMU",
  "block-export": "an export of a disk would be gone, and its clients cut off",
  "dirty-bitmap": "a bitmap of changed blocks that is not persistent would be gone",
  "node-options": "a block node was added since the start, and QEMU does not tell all of its options",
  "luks-pause": "an encrypted image makes the pause longer",
  "machine-differs": "the new QEMU has built another machine than the running one",
  snapshot: "-snapshot keeps the disk's changes in a file without a name",
  readconfig: "-readconfig holds options that can't be looked at",
  "socket-path": "a socket path would be too long",
  "socket-folder": "the folder of a socket that the new QEMU makes is missing or not writable",
  "peer-not-listening": "nobody listens where the new QEMU must connect",
  // The host.
  "no-qmp": "the new command line has no QMP monitor on a UNIX socket",
  "no-room": "the folder of the state has no room for guest RAM that is copied",
  cgroup: "cprkit can't put the new QEMU into the running one's cgroup",
  "systemd-main": "systemd would end the new QEMU together with the old one",
  user: "QEMU runs as another user, and cprkit may not start one as that user",
  rights: "the new QEMU can't be given the rights of the running one",
  namespace: "the new QEMU can't live in the namespaces of the running one",
  "nofile-new": "RLIMIT_NOFILE is too low for the new QEMU",
  "nofile-own": "RLIMIT_NOFILE is too low for cprkit",
  "nofile-in-flight": "RLIMIT_NOFILE is too low for the fds in flight",
  "memory-low": "not enough memory for the second process",
  "cgroup-memory": "the cgroup's memory limit leaves no room for the second process",
  kernel: "the kernel refuses a system call that an update needs",
  "proxmox-pidfile": "Proxmox VE would take the VM for stopped",
} as const satisfies Record<string, string>;

/** One of {@link findingCodes}. */
export type FindingCode = keyof typeof findingCodes;

/** Something that is in the way of an update (blocker), or worth knowing before it (warning). */
export interface Finding {
  /** For programs: stable. */
  readonly code: FindingCode;
  /** A blocker stops the update. */
  readonly severity: "blocker" | "warning";
  readonly message: string;
  /** What to do about it. */
  readonly remedy: string;
  /** What it is about: an id, a path, a name. */
  readonly subject?: string;
}

/** What must be changed before the update. */
export function blocker(code: FindingCode, message: string, remedy: string, subject?: string): Finding {
  return { code, severity: "blocker", message, remedy, ...(subject === undefined ? {} : { subject }) };
}

/** What the operator should know; the update goes through. */
export function warning(code: FindingCode, message: string, remedy: string, subject?: string): Finding {
  return { ...blocker(code, message, remedy, subject), severity: "warning" };
}

export function isBlocker({ severity }: Finding): boolean {
  return severity === "blocker";
}
