// The parts of a migration stream by their bytes: headers, fields, footers.

import { fieldSpans, plainSpan, type Span, type SpanField } from "../vmstate/shown/spans.ts";
import { printable } from "../vmstate/shown/text.ts";
import { walkFields } from "./fields.ts";
import type { Migration, Section } from "./model.ts";
import { fieldPath } from "./paths.ts";

/** A run of bytes of a stream, and what it is. */
export interface StreamSpan extends Span {
  /** Its bytes are not shown one by one: RAM, and what is not decoded. */
  readonly folded: boolean;
  /** Undefined for what is outside of sections. */
  readonly section: Section | undefined;
}

/**
 * The stream from its header to its end, in the order of the bytes; each byte is in one span. What lies between commands
 * in a package, and the JSON at the end after its first bytes, is in none.
 */
export function* streamSpans(migration: Omit<Migration, "problems" | "stopped">): Generator<StreamSpan, void, void> {
  const { offset, configuration } = migration;
  yield plain(offset, 4, "magic");
  yield plain(offset + 4, 4, `version: ${migration.version}`);
  if (configuration !== undefined) {
    yield plain(configuration.offset, configuration.size, `configuration: ${printable(configuration.machine)}`);
  }
  const items = [...migration.sections, ...migration.commands].sort((a, b) => a.offset - b.offset);
  for (const item of items) {
    if ("bodyOffset" in item) yield* sectionSpans(item);
    else yield plain(item.offset, 5 + (item.number === 7 ? 4 : item.size), `command ${item.name}`);
  }
  if (migration.complete) {
    const { vmdescription } = migration;
    if (vmdescription === undefined) yield plain(migration.offset + migration.size - 1, 1, "end");
    else {
      yield plain(vmdescription.offset - 1, 1, "end");
      yield plain(vmdescription.offset, 5, `VMDESCRIPTION: ${vmdescription.size - 5} bytes of JSON follow`);
    }
  }
}

/** The spans of one section, with its header and footer. */
function* sectionSpans(section: Section): Generator<StreamSpan, void, void> {
  const { offset, bodyOffset, bodySize, type, id, name, instance, version } = section;
  yield {
    ...plain(
      offset,
      bodyOffset - offset,
      `${type} section ${id}: ${printable(name)}, instance ${instance}, version ${version}`,
    ),
    section,
  };
  if (section.fields.length === 0 || type !== "full") {
    const what = name === "ram" ? "RAM records" : "not decoded";
    if (bodySize > 0) {
      yield { ...plain(bodyOffset, bodySize, `${what}: ${bodySize} bytes`), section, folded: true };
    }
  } else {
    const whole = { start: bodyOffset, end: bodyOffset + bodySize, rest: "(rest)" };
    for (const span of fieldSpans(whole, spanFieldsOf(section))) yield { ...span, folded: false, section };
  }
  if (section.footer) yield { ...plain(offset + section.size - 5, 5, "footer"), section };
}

function plain(offset: number, size: number, text: string): StreamSpan {
  return { ...plainSpan(offset, size, text), folded: false, section: undefined };
}

function* spanFieldsOf({ fields }: Section): Generator<SpanField> {
  for (const { field, depth, path } of walkFields(fields)) {
    const { name, offset, size, type, value } = field;
    const hasParts = field.fields !== undefined && field.fields.length > 0;
    const label = printable(fieldPath("", name));
    yield { offset, size, depth, label, type: printable(type), value, hasParts, path };
  }
}
