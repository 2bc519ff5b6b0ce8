// Mode copy: guest RAM gets a place that CPR can hand over from then on, under the same name; where the new QEMU knows
// no CPR, what only CPR needs goes.

import { isMachine, withMember, withoutMember } from "../command-line/members.ts";
import { idOf, objectParts } from "../command-line/monitors.ts";
import { type CommandOption, formatKeyValues, getValue, isOn, type KeyValues } from "../command-line/parse.ts";
import { type Finding, warning } from "../finding.ts";
import type { Carried, CarryInput, CarryPlan } from "./subject.ts";

/** Machine property of QEMU 10.0 and newer: firmware and display memory are shared, too. */
const auxRam = "aux-ram-share";

/** Changes nothing in the other modes. */
export function carryMemory(input: CarryInput): Partial<CarryPlan> {
  if (input.mode !== "copy") return {};
  if (!input.takesCpr) return { options: withMachineMember(input.options, auxRam, undefined) };
  const carried: Carried[] = [];
  const findings: Finding[] = [];
  let options: readonly CommandOption[] = withMachineMember(input.options, auxRam, "on");
  for (const backend of backendsOf(input)) {
    const rewritten = rewrite(options, backend);
    options = rewritten.options;
    carried.push({ subject: backend.id, what: `guest memory ${backend.id}: copied, ${rewritten.now}` });
    findings.push(...rewritten.findings);
  }
  return { options, carried, findings };
}

interface Backend {
  readonly id: string;
  /** Such as "memory-backend-ram". */
  readonly type: string;
  /** Bytes. */
  readonly size: number;
  readonly prealloc: boolean;
  /** Its file is open, but has no name: one that QEMU made in a folder. */
  readonly isNameless: boolean;
}

function backendsOf({ machine }: CarryInput): Backend[] {
  const { backends, blocks } = machine.memory;
  return backends.flatMap(({ id, size, prealloc }) => {
    const type = machine.objects.find((object) => object.id === id)?.type;
    if (id === undefined || type === undefined) return [];
    const link = blocks.find(({ name }) => name === id || name === `/objects/${id}`)?.file?.link;
    return [{ id, type, size, prealloc, isNameless: link?.endsWith(" (deleted)") === true }];
  });
}

interface Rewritten {
  readonly options: readonly CommandOption[];
  /** Where the memory will be, in words. */
  readonly now: string;
  readonly findings: readonly Finding[];
}

function rewrite(options: readonly CommandOption[], backend: Backend): Rewritten {
  const { id, type, isNameless } = backend;
  const at = options.findLastIndex((option) => option.name === "object" && idOf(option) === id);
  const option = options[at];
  if (option?.value === undefined) return withNewBackend(options, backend);
  const path = getValue(objectParts(option.value), "mem-path");
  // A private mapping of a named file is a copy of it, which must not be written back.
  const isShared = isOn(objectParts(option.value), "share");
  if (type === "memory-backend-file" && (isShared || isNameless)) {
    return {
      options: replaced(options, at, withMember(option.value, "share", "on")),
      now: `in a file of ${path}`,
      findings: [],
    };
  }
  const isMemfd = type === "memory-backend-memfd";
  if (!isMemfd && type !== "memory-backend-ram" && type !== "memory-backend-file") {
    const message = `guest memory "${id}" is a ${type}: it is copied, but CPR will not hand it over later`;
    return {
      options,
      now: `as ${type}`,
      findings: [warning("memory-not-shared", message, "update by copy again", id)],
    };
  }
  const value = withMember(isMemfd ? option.value : withType(option.value, memfd), "share", "on");
  return { options: replaced(options, at, value), now: "in a shared memfd", findings: [] };
}

const memfd = "memory-backend-memfd";

/** RAM that only -m asks for: QEMU makes its backend itself, with an id by which its block is named. */
function withNewBackend(options: readonly CommandOption[], { id, size, prealloc }: Backend): Rewritten {
  const path = options.findLast(({ name }) => name === "mem-path")?.value;
  const place: KeyValues =
    path === undefined
      ? [[memfd, undefined]]
      : [
          ["memory-backend-file", undefined],
          ["mem-path", path],
        ];
  const parts: KeyValues = [
    ...place,
    ["id", id],
    ["size", String(size)],
    ["share", "on"],
    ...(prealloc ? [["prealloc", "on"] as const] : []),
  ];
  const kept = options.filter(({ name }) => name !== "mem-path" && name !== "mem-prealloc");
  return {
    options: [...withMachineMember(kept, "memory-backend", id), { name: "object", value: formatKeyValues(parts) }],
    now: path === undefined ? "in a shared memfd" : `in a file of ${path}`,
    findings: [],
  };
}

/** Properties of memory-backend-file alone (QEMU 10.0 qapi/qom.json). */
const ofFilesOnly = new Set(["mem-path", "align", "offset", "discard-data", "pmem", "readonly", "rom"]);

function withType(value: string, type: string): string {
  if (value.startsWith("{")) {
    const members = Object.entries(JSON.parse(value) as object).filter(([key]) => !ofFilesOnly.has(key));
    return JSON.stringify({ ...Object.fromEntries(members), "qom-type": type });
  }
  const [first, ...rest] = objectParts(value).filter(([key]) => !ofFilesOnly.has(key));
  // The type comes first, or by its name.
  if (first !== undefined && first[1] === undefined) return formatKeyValues([[type, undefined], ...rest]);
  return withMember(value, "qom-type", type);
}

function replaced(options: readonly CommandOption[], at: number, value: string): CommandOption[] {
  return options.map((option, index) => (index === at ? { ...option, value } : option));
}

/** On the last -machine; undefined takes it away from all. */
function withMachineMember(options: readonly CommandOption[], key: string, text: string | undefined): CommandOption[] {
  const without = options.flatMap((option) => {
    if (!isMachine(option.name) || option.value === undefined) return option;
    const value = withoutMember(option.value, key);
    return value === "" ? [] : { ...option, value };
  });
  if (text === undefined) return without;
  const at = without.findLastIndex(({ name }) => isMachine(name));
  const last = without[at];
  if (last?.value === undefined) return [...without, { name: "machine", value: `${key}=${text}` }];
  return replaced(without, at, withMember(last.value, key, text));
}
