// Objects (-object) that were added, removed, or changed by qom-set since the VM's start.

import { formatJson, withMembers } from "../command-line/members.ts";
import { idOf, isWhole, objectParts } from "../command-line/monitors.ts";
import { type CommandOption, getValue } from "../command-line/parse.ts";
import { blocker, type Finding } from "../finding.ts";
import type { Machine } from "../machine/schema.ts";
import type { Carried, CarryInput, CarryPlan } from "./subject.ts";

/** The command line has the objects that the VM has now, with the values that they have now. */
export function carryObjects({ machine, options }: CarryInput): Pick<CarryPlan, "options" | "carried" | "findings"> {
  const running = new Map(machine.objects.map((object) => [object.id, object]));
  const line = new Map(
    options.flatMap((option) => (option.name === "object" ? [[idOf(option), option] as const] : [])),
  );
  // What is in a file of -readconfig may be from there.
  const isSeen = isWhole(options);
  const added = machine.objects.filter((object) => isSeen && !line.has(object.id) && !isMadeByQemu(object, options));
  const carried: Carried[] = [];
  const kept = options.flatMap((option): CommandOption[] => {
    if (option.name !== "object" || option.value === undefined) return [option];
    const object = running.get(idOf(option));
    if (object === undefined) {
      carried.push({ subject: idOf(option), what: `object ${idOf(option)}: removed since the start` });
      return [];
    }
    const value = rewritten(option.value, object);
    if (value !== option.value) carried.push({ subject: object.id, what: `${object.type} ${object.id}: ${value}` });
    return [value === option.value ? option : { ...option, value }];
  });
  const unreadable = added.filter(isSecret);
  const made = added.filter((object) => !isSecret(object));
  return {
    // Before the devices' own options it does not matter where they stand: QEMU sorts by kind.
    options: [...kept, ...made.map((object) => ({ name: "object", value: optionOf(object) }))],
    carried: [
      ...carried,
      ...made.map(({ id, type }) => ({ subject: id, what: `${type} ${id}: added since the start` })),
    ],
    findings: unreadable.map(refused),
  };
}

type RunningObject = Machine["objects"][number];

/** Monitors (QEMU 11.1 has an object for each), and guest RAM where -m alone has asked for it. */
function isMadeByQemu({ id, type }: RunningObject, options: readonly CommandOption[]): boolean {
  const monitors = options.flatMap(({ name, value = "" }) =>
    name === "mon" ? [getValue(objectParts(value), "id")] : [],
  );
  return (
    (type.startsWith("monitor-") && (/^(compat_)?monitor\d+$/.test(id) || monitors.includes(id))) || /\.ram$/.test(id)
  );
}

/** One that was not read from a file. */
function isSecret({ type, options }: RunningObject): boolean {
  return type === "secret" && !options["file"];
}

function refused({ id }: RunningObject): Finding {
  const message = `secret ${id} was added since the start: it must not be on a command line, where everybody can read it`;
  return blocker("options-unseen", message, "remove it for the update (object-del), and add it again after", id);
}

function optionOf(object: RunningObject): string {
  const { id, type, options } = object;
  const members = type === "throttle-group" ? { limits: limitsOf(object) } : Object.fromEntries(unusual(type, options));
  return formatJson({ "qom-type": type, id, ...members });
}

/** What object-add takes, and is not what it takes by itself. */
function unusual(type: string, options: RunningObject["options"]): (readonly [string, unknown])[] {
  return Object.entries(options).filter(
    ([name, value]) => !readOnly.has(name) && !usualOf(type, name).includes(String(value)),
  );
}

const readOnly = new Set(["opened", "loaded"]);

/**
 * Defaults, which QEMU does not tell of objects: a QEMU of another version may not know the property (QEMU 10.0 and 11.1
 * iothread.c, backends/hostmem.c, backends/hostmem-memfd.c).
 */
const usual: readonly { readonly type: RegExp; readonly values: Readonly<Record<string, readonly string[]>> }[] = [
  {
    type: /^iothread$/,
    values: {
      "poll-max-ns": ["32768"],
      "poll-grow": ["0", "2"],
      "poll-shrink": ["0", "2"],
      "poll-weight": ["3"],
      "aio-max-batch": ["0"],
      "thread-pool-min": ["0"],
      "thread-pool-max": ["64"],
    },
  },
  {
    type: /^memory-backend-/,
    values: {
      dump: ["true"],
      merge: ["true"],
      reserve: ["true"],
      prealloc: ["false"],
      "prealloc-threads": ["1"],
      policy: ["default"],
      hugetlb: ["false"],
      hugetlbsize: ["0"],
      seal: ["true"],
      align: ["0"],
      offset: ["0"],
      pmem: ["false"],
      "discard-data": ["false"],
      readonly: ["false"],
      rom: ["auto"],
    },
  },
];

function usualOf(type: string, name: string): readonly string[] {
  return usual.find((each) => each.type.test(type))?.values[name] ?? [];
}

/** What qom-set changes while the VM runs. */
const changeable: readonly { readonly type: RegExp; readonly names: readonly string[] }[] = [
  {
    type: /^iothread$/,
    names: [
      ...[
        "poll-max-ns",
        "poll-grow",
        "poll-shrink",
        "poll-weight",
        "aio-max-batch",
        "thread-pool-min",
        "thread-pool-max",
      ],
    ],
  },
  { type: /^memory-backend-/, names: ["merge", "dump"] },
  { type: /^filter-/, names: ["status", "interval"] },
];

/** The option as it is, or with what was changed since. */
function rewritten(value: string, object: RunningObject): string {
  const { type, options } = object;
  if (type === "throttle-group") return sameLimits(value, object) ? value : optionOf(object);
  const given = new Map(objectParts(value));
  const names = changeable.find((each) => each.type.test(type))?.names ?? [];
  const changed = names.flatMap((name) => {
    const now = options[name];
    const was = given.has(name) ? [normal(given.get(name))] : usualOf(type, name);
    return now === undefined || was.includes(String(now)) || was.length === 0 ? [] : [[name, now] as const];
  });
  return changed.length === 0 ? value : withMembers(value, Object.fromEntries(changed));
}

/** A switch is told as true or false. */
function normal(text: string | undefined): string {
  if (text === undefined || ["on", "yes", "y"].includes(text)) return "true";
  return ["off", "no", "n"].includes(text) ? "false" : text;
}

function limitsOf({ options }: RunningObject): Record<string, number> {
  const limits = (options["limits"] ?? {}) as Readonly<Record<string, number>>;
  return Object.fromEntries(Object.entries(limits).filter(([name, value]) => value !== (isLength(name) ? 1 : 0)));
}

/** Seconds that a burst may last; 1 where nothing was said. */
function isLength(name: string): boolean {
  return name.endsWith("-max-length");
}

/** Given as x-iops-total=, limits.iops-total= or in JSON. */
function sameLimits(value: string, object: RunningObject): boolean {
  const given = value.startsWith("{")
    ? Object.entries((JSON.parse(value) as { readonly limits?: Readonly<Record<string, number>> }).limits ?? {})
    : objectParts(value).flatMap(([key, text]) => {
        const name = /^(?:x-|limits\.)(.*)$/.exec(key)?.[1];
        return name === undefined ? [] : [[name, Number(text)] as const];
      });
  const was = Object.fromEntries(given.filter(([name, limit]) => limit !== (isLength(name) ? 1 : 0)));
  const now = limitsOf(object);
  return Object.keys({ ...was, ...now }).every((name) => was[name] === now[name]);
}
