// The bytes of a migration stream with the fields beside them. Guest RAM is left out.

import { type Migration, type Section, walkFields } from "../../migration/index.ts";
import { printable } from "./text.ts";
import { offsetText, valueText } from "./values.ts";

export type BytesAt = (offset: number, length: number) => Uint8Array;

const perLine = 16;

/** Every byte of the headers, commands and decoded sections in lines of 16; bodies that are not decoded in one line. */
export function* hexView(migration: Migration, bytesAt: BytesAt): Generator<string> {
  const { offset, configuration } = migration;
  const dump = (at: number, length: number, text: string) => lines(bytesAt(at, length), at, text);
  yield dump(offset, 4, "magic");
  yield dump(offset + 4, 4, `version: ${migration.version}`);
  if (configuration !== undefined) {
    yield dump(configuration.offset, configuration.size, `configuration: ${printable(configuration.machine)}`);
  }
  const items = [...migration.sections, ...migration.commands].sort((a, b) => a.offset - b.offset);
  for (const item of items) {
    if ("bodyOffset" in item) yield* section(item, dump);
    else yield dump(item.offset, 5 + (item.number === 7 ? 4 : item.size), `command ${item.name}`);
  }
  if (migration.complete) {
    const { vmdescription } = migration;
    if (vmdescription === undefined) yield dump(migration.offset + migration.size - 1, 1, "end");
    else {
      yield dump(vmdescription.offset - 1, 1, "end");
      yield dump(vmdescription.offset, 5, `VMDESCRIPTION: ${vmdescription.size - 5} bytes of JSON follow`);
    }
  }
}

type Dump = (at: number, length: number, text: string) => string;

function* section(item: Section, dump: Dump): Generator<string> {
  const { offset, bodyOffset, bodySize } = item;
  yield dump(
    offset,
    bodyOffset - offset,
    `${item.type} section ${item.id}: ${printable(item.name)}, instance ${item.instance}, version ${item.version}`,
  );
  if (item.fields.length === 0 || item.type !== "full") {
    const what = item.name === "ram" ? "RAM records" : "not decoded";
    if (bodySize > 0) yield `${offsetText(bodyOffset)}  ${what}: ${bodySize} bytes\n`;
  } else {
    let at = bodyOffset;
    for (const { path, field } of walkFields(item.fields)) {
      if (field.fields !== undefined && field.fields.length > 0) continue;
      if (field.offset > at) yield dump(at, field.offset - at, "(mark)");
      yield dump(field.offset, field.size, `${printable(path)}: ${valueText(field.value)} (${printable(field.type)})`);
      at = field.offset + field.size;
    }
    const end = bodyOffset + bodySize;
    if (at < end) yield dump(at, end - at, "(rest)");
  }
  if (item.footer) yield dump(offset + item.size - 5, 5, "footer");
}

function lines(bytes: Uint8Array, offset: number, label: string): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += perLine) {
    const part = bytes.subarray(at, at + perLine);
    const digits = Buffer.from(part)
      .toString("hex")
      .replace(/..(?=.)/g, "$& ");
    const place = (offset + at).toString(16).padStart(8, "0");
    text += `${`${place}  ${digits.padEnd(perLine * 3 - 1)}  ${at === 0 ? label : ""}`.trimEnd()}\n`;
  }
  return text;
}
