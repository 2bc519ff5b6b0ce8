// The bytes of a migration stream with their fields. Guest RAM is left out.

import { fieldPath, type Migration, type Section, type WalkedField, walkFields } from "../../migration/index.ts";
import { type BytesAt, type Dump, type HexField, hexDump, hexFields } from "./hex.ts";
import { printable } from "./text.ts";
import { offsetText } from "./values.ts";

/** Every byte of the headers, commands and decoded sections in lines of 16; bodies that are not decoded in one line. */
export function* hexView(migration: Migration, bytesAt: BytesAt): Generator<string> {
  const { offset, configuration } = migration;
  const dump = hexDump(bytesAt, 8);
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
    yield* hexFields(dump, { start: bodyOffset, end: bodyOffset + bodySize, rest: "(rest)" }, hexFieldsOf(item));
  }
  if (item.footer) yield dump(offset + item.size - 5, 5, "footer");
}

function* hexFieldsOf({ fields }: Section): Generator<HexField> {
  for (const { field, depth } of walkFields(fields)) yield hexFieldOf(field, depth);
}

function hexFieldOf({ name, offset, size, type, value, fields }: WalkedField["field"], depth: number): HexField {
  const hasParts = fields !== undefined && fields.length > 0;
  return { offset, size, depth, label: printable(fieldPath("", name)), type: printable(type), value, hasParts };
}
