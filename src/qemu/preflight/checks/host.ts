// What the host must allow: the cgroup, the service, a place for the state, a monitor to watch the new QEMU by.

import { blocker, type Finding } from "../../finding.ts";
import type { Facts } from "../facts.ts";

/** Without a monitor nobody could tell whether the new QEMU runs the guest. */
export function checkMonitor({ newQmp }: Facts): Finding[] {
  if (newQmp !== undefined) return [];
  const message = "the new command line has no QMP monitor on a UNIX socket: the update can't be watched";
  return [blocker("no-qmp", message, "add -qmp unix:PATH,server=on,wait=off to it, with a PATH of its own")];
}

export function checkCgroup({ launcher: { closedCgroup }, own, sideBySide }: Facts): Finding[] {
  if (!sideBySide || closedCgroup === undefined) return [];
  const message = `QEMU is in the cgroup ${closedCgroup}, which cprkit may not put a process into`;
  const way =
    own.credentials.uid === 0
      ? "run cprkit where it may write to that cgroup's cgroup.procs"
      : "run cprkit as root: the new QEMU gets QEMU's own user, and this cgroup";
  return [blocker("cgroup", message, `${way}; if the new QEMU may stay in cprkit's, --allow cgroup`, closedCgroup)];
}

/**
 * A QEMU that is the main process of a systemd service: when it ends, systemd ends the service and with it every
 * process in its cgroup, the new QEMU too, unless a PIDFile= leads to the new one by then. One that is not in the
 * service's cgroup it does not take, and starts another QEMU beside it (Restart=).
 */
export function checkService({ service, process, sideBySide, launcher: { closedCgroup } }: Facts): Finding[] {
  if (!sideBySide || service?.mainPid !== process.identity.pid) return [];
  if (closedCgroup !== undefined) {
    const message =
      `QEMU is the main process of ${service.name}, and the new one would not be in that service: systemd would take ` +
      "the service for ended, and with Restart= run a second QEMU on the same disks";
    return [blocker("systemd-main", message, "run cprkit as root, without --allow cgroup", service.name)];
  }
  if (service.pidFile !== "") return [];
  const message =
    `QEMU is the main process of ${service.name}, which has no PIDFile=: when it ends, systemd ends the service and ` +
    "the new QEMU with it";
  const remedy =
    "use --mode cpr-exec (the process stays), or Type=forking with PIDFile= and QEMU's -daemonize -pidfile";
  return [blocker("systemd-main", message, remedy, service.name)];
}

/** cpr-reboot copies guest RAM that is not in a named shared file into the state file. */
export function checkRoom({ mode, backends, stateFolder }: Facts): Finding[] {
  if (mode !== "cpr-reboot") return [];
  const copied = backends.filter(({ share, type }) => share !== true || type !== "memory-backend-file");
  const bytes = copied.reduce((sum, { size }) => sum + size, 0);
  const { path, freeBytes } = stateFolder;
  if (freeBytes >= bytes) return [];
  const message = `${path} has ${freeBytes} bytes free, the guest's RAM takes up to ${bytes}`;
  return [blocker("no-room", message, "name a larger place with --state-dir", path)];
}
