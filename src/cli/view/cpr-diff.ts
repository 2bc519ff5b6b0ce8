// What differs between two CPR states, for people.

import type { CprDifference, Place } from "../../cpr/index.ts";
import { printable } from "../../vmstate/shown/text.ts";
import { fit } from "./fit.ts";

/** One line per difference, and a last one with their number. */
export function cprDiffText(differences: readonly CprDifference[]): string {
  if (differences.length === 0) return "no difference\n";
  const lines = differences.map((one) => fit(line(one), 2));
  return `${lines.join("\n")}\n\n${lines.length} difference${lines.length === 1 ? "" : "s"}\n`;
}

function line(difference: CprDifference): string {
  switch (difference.kind) {
    case "abi":
      return `ABI: ${difference.a} -> ${difference.b}`;
    case "order":
      return "the same fds in another order";
    case "subsection":
      return `subsection "${difference.name}": ${printable(difference.a ?? "not there")} -> ${printable(difference.b ?? "not there")}`;
    case "fd": {
      const { name, id, a, b } = difference;
      const key = `"${printable(name)}" id ${id}`;
      if (b === undefined) return `${key}: only in the first, ${place(a)}`;
      if (a === undefined) return `${key}: only in the second, ${place(b)}`;
      return `${key}: fd ${a.fd} -> ${b.fd}`;
    }
  }
}

function place(at: Place | undefined): string {
  return `at 0x${(at?.offset ?? 0).toString(16)}`;
}
