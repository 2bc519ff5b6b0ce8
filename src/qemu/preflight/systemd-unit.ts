// The systemd service that a process belongs to, asked of systemd.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** A service, with what decides whether it outlives a process of its own. */
export interface SystemdService {
  readonly name: string;
  readonly mainPid: number;
  /** "" for a service without PIDFile=. */
  readonly pidFile: string;
}

/** Asks systemd for properties of a unit, as "Name=value" lines; undefined where there is no systemctl. */
export type ShowUnit = (unit: string, isUser: boolean) => Promise<string | undefined>;

/**
 * The service of a process in this cgroup; undefined without one, in a scope, or where systemd does not answer.
 *
 * @param cgroup path in the cgroup tree, such as "/system.slice/vm1.service"
 */
export async function systemdService(
  cgroup: string | undefined,
  show: ShowUnit = systemctl,
): Promise<SystemdService | undefined> {
  const units = (cgroup ?? "").split("/").filter((part) => /\.(service|scope)$/.test(part));
  const name = units.at(-1);
  if (name === undefined || !name.endsWith(".service")) return undefined;
  const isUser = units.slice(0, -1).some((each) => each.startsWith("user@"));
  const text = await show(name, isUser);
  if (text === undefined) return undefined;
  const property = (of: string) => new RegExp(`^${of}=(.*)$`, "m").exec(text)?.[1] ?? "";
  return { name, mainPid: Number(property("MainPID")), pidFile: property("PIDFile") };
}

async function systemctl(unit: string, isUser: boolean): Promise<string | undefined> {
  const args = [...(isUser ? ["--user"] : []), "show", unit, "--property=MainPID,PIDFile"];
  try {
    return (await promisify(execFile)("systemctl", args, { timeout: 5_000 })).stdout;
  } catch {
    return undefined;
  }
}
