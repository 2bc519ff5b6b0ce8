// Compares the machine that the new QEMU has built with the running one, before anything is stopped. What QEMU finds out
// itself it finds while it loads, when the guest stands still; most of it, a wrong disk say, it never finds.

import { CprkitError } from "../../../vmstate/error.ts";
import type { MachineDifference } from "../../machine/by-design.ts";
import type { MachineComparison } from "../../machine/compare.ts";

/** What weighs less than the guest's machine: differences are told, and do not stop the update. */
const besideTheGuest = /^(process|migration|vnc|spice|unanswered|fdsets|traceEvents|qemu|status|name)\b/;

/** Of a command line that was given whole: what its author may have meant. */
const ofMonitors = /^(chardevs|objects|qom\[\/(chardevs|objects|backend)\b)/;

/**
 * What stands against handing the guest over.
 *
 * @param isGiven the new command line was given whole, not derived
 */
export function splitDifferences(
  { differences }: MachineComparison,
  isGiven: boolean,
): { readonly grave: readonly MachineDifference[]; readonly light: readonly MachineDifference[] } {
  // A character device that is there, with another port, say, is the host's side only.
  const isOther = ({ path, old, new: next }: MachineDifference) =>
    /^(chardevs|qom\[\/chardevs\b)/.test(path) && old !== undefined && next !== undefined;
  const isLight = (one: MachineDifference) =>
    besideTheGuest.test(one.path) || isOther(one) || (isGiven && ofMonitors.test(one.path));
  return { grave: differences.filter((one) => !isLight(one)), light: differences.filter(isLight) };
}

/** @throws CprkitError ERR_UPDATE_REFUSED naming the first differences, if there is any */
export function refuseDifferences(grave: readonly MachineDifference[]): void {
  if (grave.length === 0) return;
  const isDisk = grave.some(({ path }) => path.startsWith("block."));
  const what = isDisk ? "the guest would get another disk" : "the new QEMU has built another machine";
  const more = grave.length > shown ? `, and ${grave.length - shown} more` : "";
  throw new CprkitError(
    "ERR_UPDATE_REFUSED",
    `[machine-differs] ${what}: ${grave.slice(0, shown).map(inWords).join("; ")}${more}; bring the running QEMU back to ` +
      "what its command line says, or give the whole new command line after --; if you know that it does not matter, " +
      "--allow machine-differs",
  );
}

const shown = 4;

/** "block.devices[cd].node: "a" of the running QEMU, "b" of the new one". */
export function inWords({ path, old, new: next }: MachineDifference): string {
  return `${path}: ${valueText(old)} of the running QEMU, ${valueText(next)} of the new one`;
}

function valueText(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > 160 ? `${text.slice(0, 157)}...` : text;
}
