// Why a load failed: reads what QEMU said, and the stream where it is at hand, and says it in plain words.

import type { Migration } from "../model.ts";
import { sectionLabel } from "../paths.ts";
import type { Cause } from "./cause.ts";
import { type LogLine, logLines } from "./lines.ts";
import { type Context, type ExplanationCode, errorText, type Rule, rules } from "./rules.ts";

/** One reason for a failed load. */
export interface Explanation extends Cause {
  readonly code: ExplanationCode;
  /** The device, as the stream's section names it ("0000:00:02.0/virtio-net"); undefined if nothing names it. */
  readonly section: string | undefined;
  /** The field that could not be loaded, as QEMU names it; undefined if nothing does. */
  readonly field: string | undefined;
  /** The line of the log, from 1 on. */
  readonly line: number;
  /** What QEMU said there, without date and program. */
  readonly said: string;
}

/** A log of failures may repeat itself: so many different reasons are told. */
const maxExplanations = 100;

/**
 * Finds failed loads in `log`, QEMU's own words or a log of libvirt, KubeVirt or Proxmox VE, and says what each means. The
 * same reason is told once, where it came last. `stream` is what was to be loaded: with it, registers and devices get their
 * names. An empty array: the log has no failed load that is known. Does not throw.
 */
export function explainLog(log: string, stream?: Migration): Explanation[] {
  const found = new Map<string, Explanation>();
  for (const failure of failuresOf(logLines(log))) {
    for (const one of explained(failure, stream)) {
      const key = [one.code, one.section, one.what].join("\0");
      // The last time is the one that matters.
      found.delete(key);
      found.set(key, one);
    }
  }
  return [...found.values()].slice(-maxExplanations);
}

/** What was said of one failure, from the first reason to the line that says that it failed. */
interface Failure {
  readonly causes: { readonly rule: Rule; readonly match: RegExpExecArray; readonly line: LogLine }[];
  /** Lines that only say where. */
  readonly places: LogLine[];
  outcome: LogLine | undefined;
}

/** The line that ends a failure. */
const outcome = /load of migration failed(?:: (.*))?|Error (-?\d+) while loading VM state/;
/** Where it failed: the device, the field. */
const ofDevice =
  /error while loading state (?:for instance (0x[\da-f]+|\d+) of device '([^']+)'|section id \d+\(([^)]+)\))/;
const ofField = /Failed to load (?:element of type (.+?) for ([^\s:]+)|([\w.-]+(?:\/[\w.-]+)?:[\w.[\]-]+))/;
const ofPostLoad = /post load hook failed for: ([^\s,]+)/;

function failuresOf(lines: readonly LogLine[]): Failure[] {
  const failures: Failure[] = [];
  let open: Failure | undefined;
  for (const line of lines) {
    const rule = rules.find(({ pattern }) => pattern.test(line.text));
    const isPlace = ofDevice.test(line.text) || ofField.test(line.text) || ofPostLoad.test(line.text);
    const isOutcome = outcome.test(line.text);
    if (rule === undefined && !isPlace && !isOutcome) continue;
    if (open === undefined) {
      open = { causes: [], places: [], outcome: undefined };
      failures.push(open);
    }
    const match = rule?.pattern.exec(line.text);
    if (rule !== undefined && match !== undefined && match !== null) open.causes.push({ rule, match, line });
    if (isPlace) open.places.push(line);
    if (isOutcome) {
      open.outcome = line;
      open = undefined;
    }
  }
  return failures;
}

function explained({ causes, places, outcome: end }: Failure, stream: Migration | undefined): Explanation[] {
  const device = sectionOf(places);
  const field = fieldOf(places);
  // What only says that it failed counts where nothing says why.
  const real = causes.filter(({ rule }) => !consequences.has(rule.code));
  const told = real.length > 0 ? real : end === undefined && places.length === 0 ? causes : [];
  if (told.length > 0) {
    return told.map(({ rule, match, line }) => {
      const section = rule.section?.(match) ?? device;
      const context: Context = { section, field, stream };
      return { code: rule.code, section, field, ...rule.explain(match, context), line: line.line, said: line.text };
    });
  }
  const last = end ?? places.at(-1) ?? causes.at(-1)?.line;
  return last === undefined ? [] : [withoutReason(places, end, last, device, field, stream)];
}

const consequences: ReadonlySet<ExplanationCode> = new Set(["connection-lost", "other-log"]);

/** Nothing but where it failed, and the number of the error. */
function withoutReason(
  places: readonly LogLine[],
  end: LogLine | undefined,
  last: LogLine,
  section: string | undefined,
  field: string | undefined,
  stream: Migration | undefined,
): Explanation {
  const [, words = "", number] = (end === undefined ? null : outcome.exec(end.text)) ?? [];
  const all = [...places.map(({ text }) => text), words].join(" ");
  const at = { section, field, line: last.line, said: last.text };
  if (/Input\/output error|stream error: -5|ret: -5\b/.test(all) || number === "-5") {
    const stopped = stream?.stopped;
    return {
      code: "input-ends",
      ...at,
      what: section === undefined ? "the stream ended before the load did" : "the stream ended while this was loaded",
      why:
        stopped === undefined
          ? "the source, or the connection, went away, or the file is cut or damaged"
          : `the stream is cut or damaged: ${stopped.message}`,
      remedy: "look at the source's log for the reason; `cprkit inspect STREAM` shows where a file ends",
    };
  }
  const hook = ofPostLoad.exec(all)?.[1];
  if (hook !== undefined && field === undefined) {
    return {
      code: "post-load",
      ...at,
      what: `its state was read, but does not fit this machine (the check of ${hook})`,
      why: "after the load, the device looks at its values, and one of them can't be here",
      remedy: "give the device the source's properties and machine type; the lines before may name the value",
    };
  }
  if (section !== undefined || field !== undefined) {
    const type = ofField.exec(all)?.[1];
    const isVirtio = /(?:^|:)virtio$/.test(field ?? "") || type === "virtio";
    return {
      code: "field",
      ...at,
      what: `${field === undefined ? "its state" : `its field ${field}`} could not be loaded${words === "" ? "" : ` (${words.split(":")[0]})`}`,
      why: isVirtio
        ? "the virtio device's own part refused it: other ports, queues or a backend that does not take the state"
        : "QEMU gives no reason: the device's own check refused the value",
      remedy: isVirtio
        ? "give the device the source's ports, queues and backend (each virtconsole and virtserialport at its nr=), and its properties"
        : "compare the device's properties on both sides; `cprkit inspect STREAM` shows its values",
    };
  }
  return {
    code: "unknown",
    ...at,
    what: `the load failed${words === "" ? "" : `: ${words}`}${number === undefined ? "" : ` (${errorText(number)})`}`,
    why: /Operation not permitted/.test(words)
      ? "it is no question of rights: QEMU's devices return the number -1 where they give no reason, which reads so"
      : "QEMU gave no reason in this log",
    remedy:
      "look for what QEMU said before this line, and at the other side's log; `cprkit check STREAM DUMP` compares the stream with what this QEMU would load",
  };
}

function sectionOf(places: readonly LogLine[]): string | undefined {
  for (const { text } of places) {
    const [, instance, name, other] = ofDevice.exec(text) ?? [];
    if (name !== undefined) return sectionLabel({ name, instance: Number(instance) });
    if (other !== undefined) return other;
  }
  return undefined;
}

/** The innermost field: QEMU tells it first. "Failed to load PCIDevice:config" says no more than the register does. */
function fieldOf(places: readonly LogLine[]): string | undefined {
  for (const { text } of places) {
    const [, , name, path] = ofField.exec(text) ?? [];
    const field = path ?? name;
    if (field !== undefined && field !== "PCIDevice:config" && field !== "config") return field;
  }
  return undefined;
}
