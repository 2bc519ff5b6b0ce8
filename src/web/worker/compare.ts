// Two streams: what differs, whether one machine can load what the other saved, and what its QEMU would say.

import { compareCprStates } from "../../cpr/index.ts";
import { checkMigration, checkSideOf, diffMigrations, explainLog, type Migration } from "../../migration/index.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import type { OpenDocument } from "./open.ts";
import type { Compared } from "./protocol.ts";
import { refusal } from "./refusal.ts";

/** Compares `a`, as the source, with `b`, as the destination. Throws ERR_BAD_MAGIC for two of different kinds. */
export function compare(a: OpenDocument, b: OpenDocument): Compared {
  if (a.cpr !== undefined && b.cpr !== undefined) {
    const cpr = compareCprStates(a.cpr, b.cpr);
    const unchecked = "a CPR state describes no devices: check compares migration streams";
    return { differences: [], findings: [], explanations: [], cpr, unchecked };
  }
  if (a.migration === undefined || b.migration === undefined) {
    throw new CprkitError("ERR_BAD_MAGIC", "a CPR state and a migration stream: both must be the same kind");
  }
  return { differences: diffMigrations(a.migration, b.migration), cpr: undefined, ...check(a.migration, b.migration) };
}

function check(a: Migration, b: Migration): Pick<Compared, "findings" | "explanations" | "unchecked"> {
  const stopped = a.stopped ?? b.stopped;
  if (stopped !== undefined) return { findings: [], explanations: [], unchecked: stopped.message };
  try {
    const findings = checkMigration(checkSideOf(a), checkSideOf(b));
    return {
      findings,
      explanations: findings.map((finding) => explainLog(refusal(finding, a, b), a)[0]),
      unchecked: undefined,
    };
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    return { findings: [], explanations: [], unchecked: error.message };
  }
}
