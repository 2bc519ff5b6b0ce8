// What the demo prints.

import chart from "simple-ascii-chart";
import { table } from "../view/table.ts";
import { counted } from "../view/text.ts";
import type { HandOver } from "./hand-over.ts";
import { type LookUpTime, rfcFigures } from "./look-up.ts";
import type { RealVm } from "./real-vm.ts";

export function handOverText(result: HandOver): string {
  const leak =
    result.leaked.old === 0 && result.leaked.new === 0
      ? "none leaked in either process"
      : `LEAKED ${result.leaked.old} in the old process, ${result.leaked.new} in the new one`;
  return [
    `Handed ${counted(result.fds, "fd")} to a new process over a UNIX socket (${counted(result.bytes, "byte")} beside them):`,
    `  found ${result.found.toLocaleString("en-US")}, the same open file ${result.same.toLocaleString("en-US")}, ${leak}`,
    `  save ${ms(result.saveMs)}, transfer until the new process hung up ${ms(result.transferMs)}, load ${ms(result.loadMs)}, ${counted(result.fds, "look-up")} ${ms(result.findNs / 1e6)}`,
    "",
  ].join("\n");
}

export function lookUpText(times: readonly LookUpTime[]): string {
  const rows = times.flatMap(({ fds, list, hash }) => {
    const rfc = rfcFigures[fds];
    if (rfc === undefined) return [];
    return [[fds, list.min, hash.min, rfc.list, rfc.hash].map((value) => Math.round(value).toLocaleString("en-US"))];
  });
  const head = ["FDS", "LIST HERE", "HASH HERE", "QLIST (RFC)", "GHASHTABLE (RFC)"];
  return `Nanoseconds for N look-ups among N fds, least of seven rounds, beside the RFC's figures:\n\n${table(head, rows, head)}\n${plot(times)}\n`;
}

export function realVmText(result: RealVm): string {
  return [
    `A real VM, moved live from one QEMU ${result.from} to another ${result.to} through the tap:`,
    table(
      ["FD", "NAME", "WHAT"],
      result.fds.map(({ fd, name, what }) => [String(fd), name, what]),
      ["FD"],
    ).trimEnd(),
    `  ${counted(result.fds.length, "fd")} passed on in ${ms(result.relayMs)}; the guest counted to ${result.lastBefore} before and went on with ${result.firstAfter}${result.firstAfter === result.lastBefore + 1 ? ": nothing lost" : ": NUMBERS LOST"}`,
    "",
  ].join("\n");
}

/** Both scales are logarithmic: a straight line's slope is the exponent. */
function plot(times: readonly LookUpTime[]): string {
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
