// What the demo prints: with all its parts it fits a terminal of 80 columns and 24 lines.

import chart from "simple-ascii-chart";
import { counted, grouped } from "../../vmstate/shown/text.ts";
import { colours } from "../colours.ts";
import { table } from "../view/table.ts";
import type { HandOver } from "./hand-over.ts";
import { type LookUpTime, rfcFigures } from "./look-up.ts";
import type { Replacement, RoundTrips } from "./round-trips.ts";
import { sparkline } from "./sparkline.ts";

export function handOverText(result: HandOver): string {
  const leak =
    result.leaked.old === 0 && result.leaked.new === 0
      ? "none leaked in either process"
      : `LEAKED ${result.leaked.old} in the old process, ${result.leaked.new} in the new one`;
  return [
    `${counted(result.fds, "fd")} to a new process over a UNIX socket (${counted(result.bytes, "byte")} beside them):`,
    `  found ${grouped(result.found)}, the same open file ${grouped(result.same)}, ${leak}`,
    `  save ${ms(result.saveMs)}, transfer ${ms(result.transferMs)}, load ${ms(result.loadMs)}, ${counted(result.fds, "look-up")} ${ms(result.findNs / 1e6)}`,
    "",
  ].join("\n");
}

export function lookUpText(times: readonly LookUpTime[]): string {
  const rows = times.flatMap(({ fds, list, hash }) => {
    const rfc = rfcFigures[fds];
    if (rfc === undefined) return [];
    return [[fds, list.min, hash.min, rfc.list, rfc.hash].map((value) => grouped(Math.round(value)))];
  });
  const head = ["FDS", "LIST HERE", "HASH HERE", "QLIST (RFC)", "GHASHTABLE (RFC)"];
  return `N look-ups among N fds, in ns, least of seven rounds, beside the RFC's figures:\n${table(head, rows, head)}`;
}

/** The heads of a table whose rows come one by one. */
export const replacedHead = `${row(["FROM", "TO", "FDS", "COUNT", "GAP"])}  TIME BETWEEN NUMBERS\n`;

export function replacedRow({ from, to, fds, lastBefore, firstAfter, gapMs, around }: Replacement): string {
  const count = `${grouped(lastBefore)} → ${grouped(firstAfter)}`;
  const gap = around.indexOf(gapMs);
  const bars = sparkline(around);
  const marked = `${bars.slice(0, gap)}${colours.yellow(bars.slice(gap, gap + 1))}${bars.slice(gap + 1)}`;
  return `${row([from, to, String(fds), count, `${gapMs.toFixed(1)} ms`])}  ${marked}\n`;
}

function row([from = "", to = "", fds = "", count = "", gap = ""]: readonly string[]): string {
  return `  ${from.padEnd(7)} ${to.padEnd(7)} ${fds.padStart(4)} ${count.padStart(15)} ${gap.padStart(9)}`;
}

export function roundTripsText({ replacements, counted: numbers, lost, usualMs }: RoundTrips): string {
  const longest = Math.max(...replacements.map(({ gapMs }) => gapMs)).toFixed(1);
  const verdict =
    lost === 0 ? colours.green("none lost, none twice") : colours.red(`${counted(lost, "number")} LOST OR TWICE`);
  return (
    `  The guest counted ${counted(numbers, "number")}: ${verdict}.\n` +
    `  Usually ${usualMs.toFixed(1)} ms lie between two; at most ${longest} ms while a QEMU was replaced.\n`
  );
}

/** Both scales are logarithmic: a straight line's slope is the exponent. */
export function plotText(times: readonly LookUpTime[]): string {
  const line = (of: (time: LookUpTime) => number) =>
    times.map((time): [number, number] => [Math.log10(time.fds), Math.log10(of(time))]);
  const lines = [line(({ list }) => list.min), line(({ hash }) => hash.min)];
  const power = (value: number) => `1e${value.toFixed(1)}`;
  return chart(lines, {
    width: 60,
    height: 12,
    title: "ns for N look-ups over N: list above, hash below",
    formatter: power,
  });
}

function ms(value: number): string {
  return `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
}
