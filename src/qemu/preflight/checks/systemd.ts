// A QEMU that is the main process of a systemd service: when it ends, systemd ends the service and with it every
// process in its cgroup, the new QEMU too, unless a PIDFile= leads to the new one by then.

import { spawnSync } from "node:child_process";
import type { Finding } from "../../command-line/derive.ts";

/** Asks systemd for properties of a unit, as "Name=value" lines; undefined where there is no systemctl. */
export type ShowUnit = (unit: string, isUser: boolean) => string | undefined;

/**
 * What is in the way for a process of this cgroup, if it may not end.
 *
 * @param cgroup path in the cgroup tree, such as "/system.slice/vm1.service"
 */
export function systemdFinding(
  cgroup: string | undefined,
  pid: number,
  show: ShowUnit = systemctl,
): Finding | undefined {
  const units = (cgroup ?? "").split("/").filter((part) => /\.(service|scope)$/.test(part));
  const unit = units.at(-1);
  if (unit === undefined || !unit.endsWith(".service")) return undefined;
  const text = show(
    unit,
    units.slice(0, -1).some((each) => each.startsWith("user@")),
  );
  const property = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(text ?? "")?.[1] ?? "";
  if (text === undefined || property("MainPID") !== String(pid) || property("PIDFile") !== "") return undefined;
  return {
    code: "systemd-main",
    severity: "blocker",
    message:
      `QEMU is the main process of ${unit}, which has no PIDFile=: when it ends, systemd ends the service and the new ` +
      "QEMU with it",
    remedy: "use --mode cpr-exec (the process stays), or Type=forking with PIDFile= and QEMU's -daemonize -pidfile",
  };
}

function systemctl(unit: string, isUser: boolean): string | undefined {
  const args = [...(isUser ? ["--user"] : []), "show", unit, "--property=MainPID,PIDFile"];
  const { status, stdout } = spawnSync("systemctl", args, { encoding: "utf8", timeout: 5_000 });
  return status === 0 ? stdout : undefined;
}
