// What the benchmark prints.

import chart from "simple-ascii-chart";
import { rfcFigures } from "../../dist/cli/demo/look-up.js";
import { table } from "../../dist/cli/view/table.js";
import { grouped } from "../../dist/vmstate/shown/text.js";
import type { Machine } from "./machine.ts";
import type { BenchResult, Ratio, RowResult } from "./run.ts";

export function benchText(machine: Machine, result: BenchResult): string {
  const parts = [machineText(machine), rowsText(result.rows)];
  parts.push(growthText(result.rows), startText(result.rows));
  for (const { phases, n } of result.rows) if (phases !== undefined) parts.push(execText(phases, n));
  if (result.inspect !== undefined) {
    const { ours, node, ratio } = result.inspect;
    parts.push(
      `Cold start: cprkit inspect ${figure(ours.median)} ms, node -e 0 ${figure(node.median)} ms (medians): ${ratioText(ratio)}\n`,
    );
  }
  parts.push(plot(result.rows), ...result.missing.map((reason) => `Not measured: ${reason}\n`));
  return parts.filter((part) => part !== "").join("\n");
}

function machineText(machine: Machine): string {
  const gcc = machine.gcc === null ? "no gcc" : `gcc ${machine.gcc}`;
  return `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB, Linux ${machine.kernel}, Node ${machine.node} (V8 ${machine.v8}), ${gcc}, load ${machine.load}\n`;
}

function rowsText(results: readonly RowResult[]): string {
  if (results.length === 0) return "";
  const head = ["WHAT", "FDS", "UNIT", "LEAST", "MEDIAN", "PEER", "LEAST", "MEDIAN", "RATIO", "AIM"];
  const lines = results.flatMap(({ what, n, unit, ours, peers, ratios }) => {
    const own = [what, grouped(n), unit, figure(ours.min), figure(ours.median)];
    if (peers.length === 0) return [[...own, "", "", "", "", ""]];
    return peers.map((peer, at) => [
      ...(at === 0 ? own : ["", "", "", "", ""]),
      peer.label,
      figure(peer.min),
      figure(peer.median),
      ...ratioCells(ratios[at]),
    ]);
  });
  return table(head, lines, ["FDS", "LEAST", "MEDIAN", "RATIO", "AIM"]);
}

function ratioCells(ratio: Ratio | undefined): [string, string] {
  if (ratio === undefined) return ["", ""];
  const aim = ratio.aim === undefined ? "" : `${ratio.aim} ${ratio.min <= ratio.aim ? "met" : "missed"}`;
  return [ratio.min.toFixed(2), aim];
}

function ratioText(ratio: Ratio): string {
  const [value, aim] = ratioCells(ratio);
  return `${value} (aim ${aim})`;
}

/** How look-ups grow from the smallest size to the largest. */
function growthText(results: readonly RowResult[]): string {
  const lines = ["find", "find-in-order"].flatMap((id) => {
    const sizes = results.filter((result) => result.id === id);
    const [first, last] = [sizes[0], sizes.at(-1)];
    if (first === undefined || last === undefined || first === last) return [];
    const peer = (last.peers[0]?.min ?? Number.NaN) / (first.peers[0]?.min ?? Number.NaN);
    return `Growth, ${last.what}: ${grouped(last.n)} to ${first.n}: ${(last.ours.min / first.ours.min).toFixed(1)} (C GHashTable ${Number.isNaN(peer) ? "not measured" : peer.toFixed(1)})\n`;
  });
  return lines.join("");
}

function startText(results: readonly RowResult[]): string {
  const lines = results.flatMap(({ id, n, ours, peers }) => {
    const rfc = rfcFigures[n];
    const list = peers[0];
    if (id !== "start" || rfc === undefined || list === undefined) return [];
    return [
      `  ${grouped(n)} fds: list ${figure(list.median)} ms, hash ${figure(ours.median)} ms: ${(list.median / ours.median).toFixed(1)} times (the RFC's: ${(rfc.list / rfc.hash).toFixed(1)} times)`,
    ];
  });
  return lines.length === 0 ? "" : `The destination's part, N look-ups as it starts:\n${lines.join("\n")}\n`;
}

function execText(phases: Readonly<Record<string, number>>, n: number): string {
  const lines = Object.entries(phases).map(([name, ms]) => [name, ms.toFixed(1)]);
  return `Live state across exec with ${grouped(n)} fds:\n${table(["PHASE", "MS"], lines, ["MS"])}`;
}

/** Both scales are logarithmic: a list's time for all N is a line of slope 2, the table's one of slope 1. */
function plot(results: readonly RowResult[]): string {
  const line = (id: string) =>
    results
      .filter((result) => result.id === id)
      .map(({ n, ours }): [number, number] => [Math.log10(n), Math.log10(ours.min * n)]);
  const lines = [line("list"), line("find")].filter((points) => points.length > 1);
  if (lines.length < 2) return "";
  return `${chart(lines, {
    width: 60,
    height: 14,
    title: "ns for N look-ups over N: list above, cprkit below",
    formatter: (value) => `1e${value.toFixed(1)}`,
  })}\n`;
}

function figure(value: number): string {
  return value >= 1000 ? grouped(Math.round(value)) : value.toFixed(value < 10 ? 2 : 1);
}
