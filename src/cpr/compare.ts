// What differs between two CPR states: which fd is missing, what changed.

import type { CprReport, ReportedFd } from "./report.ts";

/** One difference; `a` and `b` are undefined where that side has nothing. Offsets are of the fd in its stream. */
export type CprDifference =
  | { readonly kind: "abi"; readonly a: string; readonly b: string }
  | {
      readonly kind: "fd";
      readonly name: string;
      readonly id: number;
      readonly a: Place | undefined;
      readonly b: Place | undefined;
    }
  /** The same keys, but not in the same order. */
  | { readonly kind: "order" }
  | {
      readonly kind: "subsection";
      readonly name: string;
      readonly a: string | undefined;
      readonly b: string | undefined;
    };

/** Where an fd is, and its number where the stream has it. */
export interface Place {
  readonly offset: number;
  readonly fd: number | null;
}

/** Compares two reports: ABI, keys, the fds' numbers where both have them, order, subsections. Empty: nothing differs. */
export function compareCprStates(a: CprReport, b: CprReport): CprDifference[] {
  const differences: CprDifference[] = [];
  if (a.abi !== b.abi) differences.push({ kind: "abi", a: a.abi, b: b.abi });
  const fds = fdDifferences(a.fds, b.fds);
  differences.push(...fds);
  const order = (report: CprReport) => report.fds.map(keyOf).join("\n");
  if (fds.length === 0 && order(a) !== order(b)) differences.push({ kind: "order" });
  const names = new Set([...a.subsections, ...b.subsections].map(({ name }) => name));
  for (const name of names) {
    const [inA, inB] = [a, b].map(({ subsections }) => {
      const found = subsections.find((subsection) => subsection.name === name);
      return found === undefined ? undefined : JSON.stringify(found.devices);
    });
    if (inA !== inB) differences.push({ kind: "subsection", name, a: inA, b: inB });
  }
  return differences;
}

function fdDifferences(a: readonly ReportedFd[], b: readonly ReportedFd[]): CprDifference[] {
  const [placesA, placesB] = [places(a), places(b)];
  const differences: CprDifference[] = [];
  for (const [key, { name, id, offset, fd }] of placesA) {
    const other = placesB.get(key);
    const changed = fd !== null && other !== undefined && other.fd !== null && other.fd !== fd;
    if (other !== undefined && !changed) continue;
    const inB = other === undefined ? undefined : { offset: other.offset, fd: other.fd };
    differences.push({ kind: "fd", name, id, a: { offset, fd }, b: inB });
  }
  for (const [key, { name, id, offset, fd }] of placesB) {
    if (!placesA.has(key)) differences.push({ kind: "fd", name, id, a: undefined, b: { offset, fd } });
  }
  return differences;
}

/** Entries by key; of a repeated key the first counts. */
function places(fds: readonly ReportedFd[]): Map<string, ReportedFd> {
  const found = new Map<string, ReportedFd>();
  for (const entry of fds) {
    const key = keyOf(entry);
    if (!found.has(key)) found.set(key, entry);
  }
  return found;
}

// No name holds a NUL.
function keyOf({ name, id }: ReportedFd): string {
  return `${name}\0${id}`;
}
