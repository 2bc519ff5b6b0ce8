// What a QEMU says of itself over its monitor: version, machine types, the CPR modes that its QMP schema offers.

import type { Qmp } from "../qmp/client.ts";
import { qmpSchemaEntry } from "../qmp/schema.ts";

/** QEMU's names of the CPR modes. */
export const cprModes = ["cpr-transfer", "cpr-exec", "cpr-reboot"] as const;
export type CprModeName = (typeof cprModes)[number];

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
  /** The CPR modes that it knows; cpr-exec only where it also takes a command for it. */
  readonly modes: readonly CprModeName[];
  readonly machines: readonly MachineType[];
}

/**
 * Asks a running QEMU over its monitor; its QMP schema says which modes it knows.
 *
 * @throws CprkitError as `Qmp.execute`
 */
export async function abilitiesOf(qmp: Qmp): Promise<QemuAbilities> {
  const [schema, machines] = await Promise.all([qmp.execute("query-qmp-schema"), machinesOf(qmp)]);
  return { version: qmp.greeting.version, modes: modesInSchema(schema), machines };
}

/** @throws CprkitError as `Qmp.execute` */
export async function machinesOf(qmp: Qmp): Promise<MachineType[]> {
  return (await qmp.execute("query-machines")).map((machine) => ({
    name: machine.name,
    alias: machine.alias,
    isDefault: machine["is-default"] === true,
  }));
}

/** The schema has thousands of entries: only those that are asked for are looked at. */
function modesInSchema(schema: readonly unknown[]): CprModeName[] {
  const entry = (name: string | undefined) => {
    const found = schema.find(
      (each) => typeof each === "object" && each !== null && "name" in each && each.name === name,
    );
    return found === undefined ? undefined : qmpSchemaEntry.parse(found);
  };
  const parameters = entry(entry("migrate-set-parameters")?.["arg-type"])?.members ?? [];
  const known = entry(parameters.find(({ name }) => name === "mode")?.type)?.values ?? [];
  const takesCommand = parameters.some(({ name }) => name === "cpr-exec-command");
  return cprModes.filter((mode) => known.includes(mode) && (mode !== "cpr-exec" || takesCommand));
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
