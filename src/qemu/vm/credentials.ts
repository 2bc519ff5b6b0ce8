// Whose rights a process has (credentials(7), capabilities(7)), how another one is started with the same, and whether it
// got more.

import { type ProcessRef, readProcessFile, readProcessLink } from "../../linux/process/proc.ts";
import { isCprkitError } from "../../vmstate/error.ts";

/** The rights of a process. Sets of capabilities have a bit for each. */
export interface Credentials {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, ascending. */
  readonly groups: readonly number[];
  readonly umask: number;
  readonly inheritable: bigint;
  readonly permitted: bigint;
  readonly effective: bigint;
  readonly bounding: bigint;
  readonly ambient: bigint;
  readonly noNewPrivs: boolean;
  /** Number of seccomp filters. */
  readonly filters: number;
  /** Of the security module: an AppArmor profile with its mode or an SELinux context; undefined without one. */
  readonly label: string | undefined;
  /** The user namespace, such as "user:[4026531837]". */
  readonly userNamespace: string;
  /** Real, saved and file system ids are the same as the effective ones. */
  readonly isPlain: boolean;
}

/** @throws CprkitError ERR_SYSCALL when there is no such process or it may not be looked at */
export function readCredentials(pid: ProcessRef): Credentials {
  const status = readProcessFile(pid, "status");
  const line = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1]?.trim() ?? "";
  const numbers = (name: string) => line(name).split(/\s+/).filter(Boolean).map(Number);
  const set = (name: string) => BigInt(`0x${line(name) || "0"}`);
  const [uids, gids] = [numbers("Uid"), numbers("Gid")];
  return {
    uid: uids[1] ?? 0,
    gid: gids[1] ?? 0,
    groups: numbers("Groups").toSorted((a, b) => a - b),
    umask: Number.parseInt(line("Umask") || "022", 8),
    inheritable: set("CapInh"),
    permitted: set("CapPrm"),
    effective: set("CapEff"),
    bounding: set("CapBnd"),
    ambient: set("CapAmb"),
    noNewPrivs: line("NoNewPrivs") === "1",
    filters: Number(line("Seccomp_filters") || line("Seccomp") || 0),
    label: readLabel(pid),
    userNamespace: readProcessLink(pid, "ns/user"),
    isPlain: new Set(uids).size === 1 && new Set(gids).size === 1,
  };
}

/** Whether a set has a capability, by its number in capabilities(7). */
export function hasCapability(set: bigint, capability: bigint): boolean {
  return ((set >> capability) & 1n) === 1n;
}

function readLabel(pid: ProcessRef): string | undefined {
  try {
    const text = readProcessFile(pid, "attr/current").replaceAll("\0", "").trim();
    return text === "" ? undefined : text;
  } catch (error) {
    // EINVAL: the kernel has no security module that gives labels.
    if (isCprkitError(error)) return undefined;
    throw error;
  }
}

/** Whether a child of `own` has the rights of `other` without any change. */
export function hasSameRights(own: Credentials, other: Credentials): boolean {
  return (
    own.uid === other.uid &&
    own.gid === other.gid &&
    String(own.groups) === String(other.groups) &&
    own.inheritable === other.inheritable &&
    own.permitted === other.permitted &&
    own.bounding === other.bounding &&
    own.ambient === other.ambient &&
    own.noNewPrivs === other.noNewPrivs &&
    own.label === other.label
  );
}

/** Words that start a program with the rights of `wanted`, for a process with those of `own` that may do so: setpriv(1). */
export function setprivWords(own: Credentials, wanted: Credentials): readonly string[] {
  const { uid, gid, groups } = wanted;
  // A program of root gets all that the bounding set leaves (capabilities(7)); another user's what is ambient.
  const bounding = uid === 0 ? wanted.permitted : wanted.bounding;
  const inheritable = uid === 0 ? wanted.inheritable & wanted.permitted : wanted.inheritable;
  const ambient = uid === 0 ? 0n : wanted.ambient;
  // Only what differs: without the right to change it, not even the same may be set.
  return [
    "setpriv",
    ...(own.uid === uid ? [] : [`--reuid=${uid}`]),
    ...(own.gid === gid ? [] : [`--regid=${gid}`]),
    ...(String(own.groups) === String(groups)
      ? own.gid === gid
        ? []
        : ["--keep-groups"]
      : [groups.length === 0 ? "--clear-groups" : `--groups=${groups.join(",")}`]),
    ...(own.inheritable === inheritable ? [] : [`--inh-caps=${capabilityList(inheritable)}`]),
    ...(own.ambient === ambient ? [] : [`--ambient-caps=${capabilityList(ambient)}`]),
    ...(own.bounding === bounding ? [] : [`--bounding-set=${capabilityList(bounding)}`]),
    ...(wanted.noNewPrivs && !own.noNewPrivs ? ["--no-new-privs"] : []),
    ...(own.label === wanted.label ? [] : labelWords(wanted.label)),
    "--",
  ];
}

/** "-all,+cap_12,+cap_13". */
function capabilityList(set: bigint): string {
  const names = ["-all"];
  for (let bit = 0n; set >> bit > 0n; bit++) if (hasCapability(set, bit)) names.push(`+cap_${bit}`);
  return names.join(",");
}

function labelWords(label: string | undefined): readonly string[] {
  if (label === undefined || label === "unconfined") return [];
  // SELinux: user:role:type:level. AppArmor: "profile (mode)".
  if (/^[^ :]+:[^ :]+:[^ :]+(:|$)/.test(label)) return [`--selinux-label=${label}`];
  return [`--apparmor-profile=${label.replace(/ \([a-z]+\)$/, "")}`];
}

const capSetgid = 6n;
const capSetuid = 7n;
const capSetpcap = 8n;

/** Why a process with the rights of `own` can't start one with those of `wanted`, in words; empty if it can. */
export function notGivable(own: Credentials, wanted: Credentials): string[] {
  const can = (capability: bigint) => hasCapability(own.permitted, capability);
  const isOther = own.uid !== wanted.uid || own.gid !== wanted.gid || String(own.groups) !== String(wanted.groups);
  const gained = wanted.uid === 0 ? wanted.permitted : wanted.ambient;
  const problems: string[] = [];
  const check = (isFine: boolean, problem: string) => {
    if (!isFine) problems.push(problem);
  };
  check(own.userNamespace === wanted.userNamespace, "it is in another user namespace");
  check(wanted.isPlain, "its real and effective ids differ");
  check(!isOther || (can(capSetuid) && can(capSetgid)), `it has ${idText(wanted)}, cprkit ${idText(own)}`);
  check(wanted.permitted === gained, "it has capabilities that a program of its user does not get at its start");
  check((gained & ~own.permitted) === 0n, "it has capabilities that cprkit does not have");
  check(
    own.bounding === wanted.bounding || (can(capSetpcap) && (wanted.bounding & ~own.bounding) === 0n),
    "it has another bounding set of capabilities",
  );
  check(!own.noNewPrivs || wanted.noNewPrivs, "cprkit has no_new_privs");
  // One of them may be QEMU's own (-sandbox).
  check(own.filters <= wanted.filters, "cprkit has seccomp filters that it does not have");
  check(wanted.filters <= own.filters + 1, "it has seccomp filters that cprkit does not have");
  return problems;
}

function idText({ uid, gid, groups }: Credentials): string {
  return `uid ${uid}, gid ${gid}, ${groups.length === 0 ? "no other groups" : `groups ${groups.join(", ")}`}`;
}

/** The rights that `actual` has and `wanted` has not, in words; empty if there are none. */
export function moreRights(actual: Credentials, wanted: Credentials): string[] {
  const problems: string[] = [];
  const check = (isFine: boolean, problem: string) => {
    if (!isFine) problems.push(problem);
  };
  check(actual.uid === wanted.uid && actual.isPlain, `uid ${actual.uid} in place of ${wanted.uid}`);
  check(actual.gid === wanted.gid, `gid ${actual.gid} in place of ${wanted.gid}`);
  const groups = actual.groups.filter((group) => !wanted.groups.includes(group));
  check(groups.length === 0, `groups ${groups.join(", ")}`);
  for (const set of ["permitted", "inheritable", "ambient", "bounding"] as const) {
    const more = actual[set] & ~wanted[set];
    check(more === 0n, `${set} capabilities ${more.toString(16)} (hexadecimal)`);
  }
  check(actual.noNewPrivs || !wanted.noNewPrivs, "no no_new_privs");
  check(actual.filters >= wanted.filters, `${actual.filters} seccomp filters in place of ${wanted.filters}`);
  check(actual.label === wanted.label, `the label ${actual.label ?? "none"} in place of ${wanted.label ?? "none"}`);
  return problems;
}
