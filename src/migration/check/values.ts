// What a destination compares with its own values when it loads: fields that must be equal, PCI's configuration, virtio.

import { fieldPath } from "../paths.ts";
import { type CheckContext, note } from "./body.ts";
import type { ValuesByPath } from "./by-path.ts";
import { finding } from "./findings.ts";
import { knownEqual } from "./known.ts";
import { checkPciConfig } from "./pci.ts";
import { checkVirtio } from "./virtio.ts";

/** Notes values that the destination refuses. */
export function checkValues(context: CheckContext, source: ValuesByPath, destination: ValuesByPath): void {
  if (context.section === "globalstate") checkRunState(context, source);
  for (const path of knownEqual(context.section))
    checkEqual(context, path, source.get(path)?.value, destination.get(path)?.value);
  for (const [path, theirs] of destination) {
    const ours = source.get(path);
    if (ours === undefined) continue;
    if (theirs.type === "pci config") checkPciConfig(context, path, ours, theirs);
    else if (theirs.type === "virtio") checkVirtio(context, path, ours, theirs);
    else if (theirs.type.endsWith(" equal")) checkEqual(context, path, ours.value, theirs.value);
    else if (theirs.type === "int32 le") checkLess(context, path, ours.value, theirs.value);
  }
}

function checkEqual(context: CheckContext, path: string, ours: unknown, theirs: unknown): void {
  if (Array.isArray(ours) && Array.isArray(theirs)) {
    for (let i = 0; i < Math.min(ours.length, theirs.length); i++)
      checkEqual(context, fieldPath(path, i), ours[i], theirs[i]);
    return;
  }
  if (!isNumber(ours) || !isNumber(theirs) || BigInt.asUintN(64, BigInt(ours)) === BigInt.asUintN(64, BigInt(theirs)))
    return;
  note(context, path, finding.valueDiffers(String(ours), String(theirs)));
}

function checkLess(context: CheckContext, path: string, ours: unknown, theirs: unknown): void {
  if (isNumber(ours) && isNumber(theirs) && ours > theirs)
    note(context, path, finding.valueTooLarge(String(ours), String(theirs)));
}

function isNumber(value: unknown): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

// QEMU 11.1 qapi/run-state.json, RunState.
const runStates: ReadonlySet<string> = new Set([
  ...["debug", "inmigrate", "internal-error", "io-error", "paused", "postmigrate", "prelaunch", "finish-migrate"],
  ...["restore-vm", "running", "save-vm", "shutdown", "suspended", "watchdog", "guest-panicked", "colo"],
]);

function checkRunState(context: CheckContext, source: ValuesByPath): void {
  const value = source.get("runstate")?.value;
  if (!(value instanceof Uint8Array)) return;
  const end = value.indexOf(0);
  const name = String.fromCharCode(...value.subarray(0, end < 0 ? value.length : end));
  if (!runStates.has(name)) note(context, "runstate", finding.runStateUnknown(name));
}

/**
 * Whether the length of an array is a number that is sent beside it: the same field of the same structure has `ours` in the
 * source and `theirs` in the destination.
 */
export function lengthTravels(
  source: ValuesByPath,
  destination: ValuesByPath,
  place: string,
  ours: number,
  theirs: number,
): boolean {
  const around = place.slice(0, place.lastIndexOf("/") + 1);
  for (const [path, { value }] of source) {
    if (!path.startsWith(around) || path.includes("/", around.length) || path === place) continue;
    if (isNumber(value) && Number(value) === ours && Number(destination.get(path)?.value) === theirs) return true;
  }
  return false;
}

/**
 * Whether a field is there or not because of a flag that is sent beside it: `present` has the field at `place`, and a number
 * or truth value beside it that is not zero; in `absent` that one is zero. Both are named alike, or follow each other.
 */
export function presenceTravels(present: ValuesByPath, absent: ValuesByPath, place: string): boolean {
  const slash = place.lastIndexOf("/") + 1;
  const [around, name] = [place.slice(0, slash), place.slice(slash)];
  let before = "";
  for (const [path, { value }] of present) {
    if (path === place) break;
    if (!path.startsWith(around) || path.includes("/", slash)) continue;
    before = path;
    if (alike(path.slice(slash), name) && isSet(value) && isClear(absent.get(path)?.value)) return true;
  }
  return isSet(present.get(before)?.value) && isClear(absent.get(before)?.value);
}

/** "identify_set" and "identify_data": the same first word. */
function alike(a: string, b: string): boolean {
  const word = /^[a-z]{3,}_/.exec(a)?.[0];
  return word !== undefined && b.startsWith(word);
}

function isSet(value: unknown): boolean {
  return value === true || (isNumber(value) && Number(value) !== 0);
}

function isClear(value: unknown): boolean {
  return value === false || (isNumber(value) && Number(value) === 0);
}
