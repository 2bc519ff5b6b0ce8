// What a QEMU says of itself: version, machine types, CPR modes.

import type { Qmp } from "../qmp/client.ts";

/** QEMU's names of the CPR modes. */
export const cprModes = ["cpr-transfer", "cpr-exec", "cpr-reboot"] as const;

/** One of {@link cprModes}. */
export type CprModeName = (typeof cprModes)[number];

/**
 * The ways of an update: CPR's, and "copy", a live migration on the same host (QEMU's mode "normal"), for a VM that was
 * not started for CPR.
 */
export const updateModes = [...cprModes, "copy"] as const;

/** One of {@link updateModes}. */
export type UpdateModeName = (typeof updateModes)[number];

export interface QemuVersionInfo {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  /** The packager's text; may be "". */
  readonly package: string;
}

export interface MachineType {
  readonly name: string;
  /** The short name that means this type in this QEMU, such as "q35". */
  readonly alias?: string | undefined;
  readonly isDefault: boolean;
}

/** What a QEMU can do, by its own words. */
export interface QemuAbilities {
  readonly version: QemuVersionInfo;
  /** The CPR modes that it knows. */
  readonly modes: readonly CprModeName[];
  readonly machines: readonly MachineType[];
}

/** @throws CprkitError as `Qmp.execute` */
export async function machinesOf(qmp: Qmp): Promise<MachineType[]> {
  return (await qmp.execute("query-machines")).map((machine) => ({
    name: machine.name,
    alias: machine.alias,
    isDefault: machine["is-default"] === true,
  }));
}

/** The type that a name means in a QEMU: resolves an alias, and for undefined takes the default. */
export function resolveMachine(machines: readonly MachineType[], asked: string | undefined): string | undefined {
  if (asked === undefined) return machines.find(({ isDefault }) => isDefault)?.name;
  return machines.find(({ name, alias }) => name === asked || alias === asked)?.name;
}

/** Negative when `a` is older than `b`, by major and minor: the micro version changes no format. */
export function compareVersions(a: QemuVersionInfo, b: QemuVersionInfo): number {
  return a.major - b.major || a.minor - b.minor;
}

/** "10.0.2". */
export function versionText({ major, minor, micro }: QemuVersionInfo): `${number}.${number}.${number}` {
  return `${major}.${minor}.${micro}`;
}
