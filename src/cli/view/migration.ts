// A migration stream for people: header, sections, RAM, and the devices' fields as a tree.

import type { Wrapping } from "../../files/unwrap/peel.ts";
import {
  fieldPath,
  type Migration,
  type RamBlock,
  type Section,
  sectionLabel,
  type WalkedField,
  walkFields,
} from "../../migration/index.ts";
import { counted, grouped, printable } from "../../vmstate/shown/text.ts";
import { offsetText, sizeText, valueText } from "../../vmstate/shown/values.ts";
import { fit } from "./fit.ts";
import { table } from "./table.ts";
import { wrappingLines } from "./wrapping.ts";

/** Header, sections with size and share, RAM by block. */
export function overview(migration: Migration, wrapping: readonly Wrapping[]): string {
  return [header(migration, wrapping), sectionTable(migration), ram(migration), notes(migration)]
    .filter((part) => part !== "")
    .join("\n");
}

/** The fields of each section, with offsets. */
export function tree(migration: Migration): string {
  const lines: string[] = [];
  for (const section of migration.sections) {
    if (section.type === "part" || section.type === "end") continue;
    lines.push(
      `${label(section)} (version ${section.version}, ${counted(section.bodySize, "byte")} at ${offsetText(section.bodyOffset)})`,
    );
    if (section.opaque !== undefined) lines.push(`  [${printable(section.opaque)}]`);
    else if (section.fields.length === 0) lines.push(`  [${section.name === "ram" ? "guest RAM" : "no fields"}]`);
    for (const walked of walkFields(section.fields)) lines.push(fieldLine(walked));
    lines.push("");
  }
  return lines.length === 0 ? "" : `${lines.join("\n").trimEnd()}\n`;
}

function header(migration: Migration, wrapping: readonly Wrapping[]): string {
  const { version, machine, configuration, pageSize, offset, size, complete, trailing } = migration;
  const state = complete ? "complete" : "NOT complete";
  const lines = [
    `QEMU migration stream, version ${version}, ${counted(size, "byte")}${offset > 0 ? ` from ${offsetText(offset)} on` : ""}, ${state}`,
    `machine       ${machine === undefined ? "unknown" : printable(machine)}`,
    `page size     ${pageSize}${migration.pageSizeStated || migration.ram === undefined ? "" : " (not stated)"}`,
    ...wrappingLines(wrapping),
  ];
  if (configuration !== undefined && configuration.capabilities.length > 0) {
    lines.push(`capabilities  ${configuration.capabilities.map(printable).join(", ")}`);
  }
  if (configuration?.uuid !== undefined) lines.push(`uuid          ${configuration.uuid}`);
  const runState = runStateOf(migration);
  if (runState !== undefined) lines.push(`run state     ${printable(runState)} (before the source was stopped)`);
  for (const { name, offset: at } of migration.commands) lines.push(`command       ${name} at ${offsetText(at)}`);
  if (trailing !== undefined) {
    const { stream } = trailing;
    const other = stream === undefined ? "" : `; another stream begins at ${offsetText(stream)} (--offset ${stream})`;
    lines.push(`${counted(trailing.size, "byte")} follow the stream${other}`);
  }
  if (complete && migration.commands.some(({ name }) => name === "ENABLE_COLO")) {
    lines.push("COLO: the checkpoints that follow the first state are not read");
  }
  return `${lines.map((line) => fit(line, 14)).join("\n")}\n`;
}

function runStateOf({ sections }: Migration): string | undefined {
  const fields = sections.find(({ name }) => name === "globalstate")?.fields;
  const value = fields?.find(({ name }) => name === "runstate")?.value;
  if (!(value instanceof Uint8Array)) return undefined;
  const end = value.indexOf(0);
  return Buffer.from(value.subarray(0, end < 0 ? value.length : end)).toString("latin1");
}

function sectionTable({ sections, size }: Migration): string {
  const rows = joinParts(sections).map((section) => [
    offsetText(section.offset),
    section.count > 1 ? `${section.type} x${section.count}` : section.type,
    String(section.id),
    label(section),
    String(section.version),
    grouped(section.size),
    `${((100 * section.size) / Math.max(1, size)).toFixed(1)}%`,
  ]);
  if (rows.length === 0) return "";
  return table(["OFFSET", "TYPE", "ID", "SECTION", "VERSION", "SIZE", "SHARE"], rows, [
    "OFFSET",
    "ID",
    "VERSION",
    "SIZE",
    "SHARE",
  ]);
}

/** Rounds of one section are one line. */
function joinParts(sections: readonly Section[]): Section[] {
  const joined: Section[] = [];
  for (const section of sections) {
    const last = joined.at(-1);
    if (section.type === "part" && last?.type === "part" && last.id === section.id) {
      joined[joined.length - 1] = { ...last, count: last.count + section.count, size: last.size + section.size };
    } else joined.push(section);
  }
  return joined;
}

function label(section: Section): string {
  return printable(sectionLabel(section));
}

function ram({ ram: all }: Migration): string {
  if (all === undefined) return "";
  const row = ({ name, usedLength, pages, zeroPages, xbzrlePages, bytes }: RamBlock) => [
    printable(name),
    sizeText(usedLength),
    grouped(pages),
    grouped(zeroPages),
    grouped(xbzrlePages),
    grouped(bytes),
  ];
  const facts = [
    `RAM: ${sizeText(all.totalBytes)} in ${counted(all.blocks.length, "block")}`,
    ...(all.mappedRam ? ["mapped-ram"] : []),
    ...(all.ignoreShared ? ["x-ignore-shared"] : []),
    ...(all.multifdFlushes > 0 ? ["multifd: pages travelled on other channels"] : []),
    ...(all.compressedPages > 0 ? [`${grouped(all.compressedPages)} pages compressed with zlib`] : []),
    ...(all.pages + all.zeroPages + all.xbzrlePages === 0 ? ["no pages in the stream"] : []),
  ];
  const head = ["BLOCK", "LENGTH", "PAGES", "ZERO", "XBZRLE", "BYTES"];
  return `${fit(facts.join(", "), 2)}\n${all.blocks.length === 0 ? "" : table(head, all.blocks.map(row), head.slice(1))}`;
}

function notes({ sections, problems }: Migration): string {
  const opaque = sections.filter((section) => section.opaque !== undefined);
  const lines = [
    ...opaque.map((section) => `not decoded: ${label(section)}: ${printable(section.opaque ?? "")}`),
    ...problems.map((problem) => `problem: ${printable(problem.message)}`),
  ];
  return lines.length === 0 ? "" : `${[...new Set(lines)].map((line) => fit(line, 2)).join("\n")}\n`;
}

function fieldLine({ field, depth }: WalkedField): string {
  const indent = "  ".repeat(depth + 1);
  const name = printable(fieldPath("", field.name));
  const value = field.fields === undefined ? ` = ${valueText(field.value)}` : "";
  return `${indent}${name}${value}  (${printable(field.type)} at ${offsetText(field.offset)})`;
}
