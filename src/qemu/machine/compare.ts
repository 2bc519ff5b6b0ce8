// What differs between two machines: of an update's old and new QEMU, or of one QEMU at two times. Pure.

import { type DifferenceReason, type MachineDifference, reasonOf, reasonOfCopy } from "./by-design.ts";
import { canonicalMachine } from "./canonical.ts";
import type { Machine } from "./schema.ts";

/** A difference that has to be, or that says nothing. */
export interface ExpectedDifference extends MachineDifference {
  readonly reason: DifferenceReason;
}

/** How two machines are compared. */
export interface CompareOptions {
  /** Guest RAM was copied into memory of another kind. */
  readonly ramCopied?: boolean;
}

/** What {@link compareMachines} finds. */
export interface MachineComparison {
  /** How many values were compared. */
  readonly compared: number;
  /** What nobody declared: the new machine is not the old one. */
  readonly differences: readonly MachineDifference[];
  /** What differs by design, each with its reason. */
  readonly expected: readonly ExpectedDifference[];
}

/**
 * Compares two machines value by value. Names that QEMU generates (nodes "#block123", "device[5]") are matched by what they
 * stand for. A part that is missing on one side is one difference, whatever is in it.
 */
export function compareMachines(old: Machine, next: Machine, how: CompareOptions = {}): MachineComparison {
  const found: MachineDifference[] = [];
  const compared = compare("", canonical(old), canonical(next), found);
  const differences: MachineDifference[] = [];
  const expected: ExpectedDifference[] = [];
  for (const difference of found) {
    if (isInMissingObject(difference, found)) continue;
    const reason = reasonOf(difference, old, next) ?? (how.ramCopied ? reasonOfCopy(difference, old) : undefined);
    if (reason === undefined) differences.push(difference);
    else expected.push({ ...difference, reason });
  }
  return { compared, differences, expected };
}

/** Does the first half of the work for one of the two machines, while there is time. It must not be changed after that. */
export function prepareToCompare(machine: Machine): void {
  canonical(machine);
}

/** An update compares the old machine twice. */
const canonicals = new WeakMap<Machine, ReturnType<typeof canonicalMachine>>();

function canonical(machine: Machine): ReturnType<typeof canonicalMachine> {
  const tree = canonicals.get(machine) ?? canonicalMachine(machine);
  canonicals.set(machine, tree);
  return tree;
}

/** Returns the number of values that were compared. */
function compare(path: string, old: unknown, next: unknown, found: MachineDifference[]): number {
  if (isPart(old) && isPart(next)) {
    let compared = 0;
    for (const key of new Set([...Object.keys(old), ...Object.keys(next)])) {
      // The key of a list's element is in brackets already.
      const below = key.startsWith("[") || path === "" ? `${path}${key}` : `${path}.${key}`;
      compared += compare(below, old[key], next[key], found);
    }
    return compared;
  }
  if (isNothing(old) && isNothing(next)) return 0;
  if (JSON.stringify(old) !== JSON.stringify(next)) found.push({ path, old, new: next });
  return 1;
}

type Part = Readonly<Record<string, unknown>>;

function isPart(value: unknown): value is Part {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Absent, or empty, which is the same. */
function isNothing(value: unknown): boolean {
  return value === undefined || (typeof value === "object" && value !== null && Object.keys(value).length === 0);
}

/** An object of QOM below another one that is missing on the same side. */
function isInMissingObject({ path, old, new: next }: MachineDifference, all: readonly MachineDifference[]): boolean {
  const object = /^qom\[(.*)\]$/.exec(path)?.[1];
  if (object === undefined || (old !== undefined && next !== undefined)) return false;
  return all.some((other) => {
    const above = /^qom\[(.*)\]$/.exec(other.path)?.[1];
    return (
      above !== undefined &&
      object.startsWith(`${above}/`) &&
      (old === undefined ? other.old === undefined : other.new === undefined)
    );
  });
}
