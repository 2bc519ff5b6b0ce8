// Tap interfaces: QEMU's CPR does not carry their fds, and the kernel lets nobody attach to a queue that is held. The new
// QEMU gets the very fds, by number, so that it opens nothing and runs no script (QEMU 10.0 net/tap.c).

import { existsSync } from "node:fs";
import { objectParts } from "../command-line/monitors.ts";
import { type CommandOption, formatKeyValues, getValue, kindIn } from "../command-line/parse.ts";
import { type Finding, warning } from "../finding.ts";
import type { Held } from "./held.ts";

/**
 * Which option's tap has which fds, in the order of its queues. Those that name their interface or their fds are certain;
 * a single one that does not (a helper, or a name that the kernel chose) has the single interface that is left. Of several
 * nobody can say which is whose: they are left out.
 */
export function tapOwners(
  options: readonly CommandOption[],
  held: readonly Held[],
): Map<CommandOption, readonly Held[]> {
  const owners = new Map<CommandOption, readonly Held[]>();
  const unnamed: CommandOption[] = [];
  for (const option of options.filter(isTap)) {
    const parts = objectParts(option.value ?? "");
    const numbers = getValue(parts, "fds") ?? getValue(parts, "fd");
    const name = getValue(parts, "ifname");
    const own =
      numbers === undefined
        ? held.filter(({ at }) => at === name)
        : numbers.split(":").flatMap((number) => held.find(({ fd }) => String(fd) === number) ?? []);
    if (own.length > 0 && (numbers === undefined || own.length === numbers.split(":").length)) owners.set(option, own);
    else if (numbers === undefined) unnamed.push(option);
  }
  const taken = new Set([...owners.values()].flat());
  const left = held.filter((each) => !taken.has(each));
  const [option, ...others] = unnamed;
  if (option !== undefined && others.length === 0 && new Set(left.map(({ at }) => at)).size === 1) {
    owners.set(option, left);
  }
  return owners;
}

/** Whether an option makes a tap back end. */
function isTap({ name, value = "" }: CommandOption): boolean {
  if (!["netdev", "nic", "net"].includes(name)) return false;
  return ["tap", "bridge"].includes(kindIn(objectParts(value), "type") ?? "");
}

/** What goes with opening an interface, and is refused beside an fd; an fd of /dev/vhost-net serves one process only. */
const ofOpening = new Set("type fd fds ifname script downscript br helper queues vnet_hdr vhostfd vhostfds".split(" "));

/** The option with fds in place of all that. */
export function tapWords(
  { name, value = "" }: CommandOption,
  queues: readonly Held[],
  give: (name: string, id: number, held: Held) => number,
): CommandOption {
  const parts = objectParts(value);
  const id = getValue(parts, "id") ?? queues[0]?.at ?? "";
  const numbers = queues.map((queue, index) => give(`cprkit/netdev/${id}`, index, queue));
  const key = numbers.length > 1 ? "fds" : "fd";
  if (value.startsWith("{")) {
    const kept = Object.entries(JSON.parse(value) as object).filter(([member]) => !ofOpening.has(member));
    return { name, value: JSON.stringify({ type: "tap", ...Object.fromEntries(kept), [key]: numbers.join(":") }) };
  }
  const rest = parts.filter(([member, text], at) => !(at === 0 && text === undefined) && !ofOpening.has(member));
  return { name, value: formatKeyValues([["tap", undefined], ...rest, [key, numbers.join(":")]]) };
}

/** Nobody runs the script that undoes what the first one did: the new QEMU knows of none. */
export function tapFindings({ name, value = "" }: CommandOption): Finding[] {
  const parts = objectParts(value);
  const opens =
    kindIn(parts, "type") === "tap" && !["fd", "fds", "helper"].some((key) => getValue(parts, key) !== undefined);
  const script = getValue(parts, "downscript") ?? defaultDownScript;
  if (!opens || script === "no" || script === "" || !existsSync(script)) return [];
  const message = `-${name} ${value}: ${script} will not be run when the new QEMU ends: it gets the interface as an fd`;
  return [warning("tap-script", message, "run it yourself after the VM's end", script)];
}

/** QEMU 10.0 include/net/net.h, as Debian builds it. */
const defaultDownScript = "/etc/qemu-ifdown";
