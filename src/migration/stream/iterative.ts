// Iterative sections other than ram: no JSON describes them, each has a form of its own (QEMU 10.0
// migration/block-dirty-bitmap.c, hw/s390x/s390-stattrib.c, hw/ppc/spapr.c, hw/vfio/migration.c).

import { CprkitError } from "../../vmstate/error.ts";
import type { FieldNode, SectionType } from "../model.ts";
import { type FooterSearch, findFooter } from "./footer.ts";
import { need, type Step, type Window } from "./window.ts";

/** Reads one body from the window; gives a summary as fields. Throws ERR_EOF, ERR_BAD_STREAM, ERR_RANGE. */
export type IterativeReader = (w: Window, type: SectionType, search: FooterSearch) => Step<readonly FieldNode[]>;

/** The reader for the section of this name; undefined if cprkit does not know its form. */
export function iterativeReader(name: string): IterativeReader | undefined {
  if (name === "dirty-bitmap") return readDirtyBitmaps;
  if (name === "s390-storage_attributes") return readStorageAttributes;
  if (name === "spapr/htab") return readHashTable;
  if (name === "vfio" || name.endsWith("/vfio")) return readVfio;
  return undefined;
}

/** Fields of a summary. */
class Summary {
  readonly fields: FieldNode[] = [];
  readonly #w: Window;
  constructor(w: Window) {
    this.#w = w;
  }
  /** Notes a value whose last byte was just read. */
  add(name: string, type: string, size: number, value: unknown): void {
    this.fields.push({ name, type, offset: this.#w.offset - size, size, value, fields: undefined });
  }
}

const maxBitmapNodes = 4096;

function* readDirtyBitmaps(w: Window): Step<readonly FieldNode[]> {
  const what = "a dirty-bitmap section";
  const summary = new Summary(w);
  let chunks = 0;
  let bytes = 0;
  const start = w.offset;
  for (;;) {
    yield* need(w, 1, what);
    const at = w.offset;
    let flags = w.uint8();
    if ((flags & 0x80) !== 0) {
      yield* need(w, 1, what);
      flags = (flags << 8) | w.uint8();
    }
    if ((flags & 0x8080) === 0x8080) {
      yield* need(w, 2, what);
      flags = ((flags << 16) | w.uint16()) >>> 0;
    }
    const bits = flags & 0x7f;
    if ((bits & 0x01) !== 0) break;
    for (const [mark, name] of [
      [0x08, "node"],
      [0x04, "bitmap"],
    ] as const) {
      if ((bits & mark) === 0) continue;
      yield* need(w, 1, what);
      const length = w.uint8();
      yield* need(w, length, what);
      const text = w.text(length);
      if (summary.fields.length < maxBitmapNodes) summary.add(name, "text", length + 1, text);
    }
    if ((bits & 0x10) !== 0) {
      yield* need(w, 5, what);
      const granularity = w.uint32();
      if (summary.fields.length < maxBitmapNodes) summary.add("granularity", "uint32", 4, granularity);
      const state = w.uint8();
      if (summary.fields.length < maxBitmapNodes) summary.add("flags", "uint8", 1, state);
      if ((state & 0xf8) !== 0) throw bad(at, `a bitmap with the flags 0x${state.toString(16)}`);
    } else if ((bits & 0x40) !== 0) {
      yield* need(w, 12, what);
      w.pos += 12;
      if ((bits & 0x02) === 0) {
        yield* need(w, 8, what);
        const length = lengthOf(w, what);
        bytes += length;
        w.pos += length;
      }
      chunks += 1;
    } else if ((bits & 0x20) === 0 && (bits & 0x0c) === 0) {
      throw bad(at, `a dirty-bitmap chunk with the flags 0x${flags.toString(16)}`);
    }
  }
  return [...summary.fields, ...totals(start, w.offset, { chunks, bytes })];
}

function* readStorageAttributes(w: Window): Step<readonly FieldNode[]> {
  const what = "the storage attributes";
  const start = w.offset;
  let bytes = 0;
  for (;;) {
    yield* need(w, 8, what);
    const at = w.offset;
    w.pos += 4;
    const flags = w.uint32() & 0xfff;
    if (flags === 0x01) return totals(start, w.offset, { bytes });
    if (flags === 0x02) {
      yield* need(w, 8, what);
      const length = lengthOf(w, what);
      bytes += length;
      w.pos += length;
    } else if (flags === 0x04) {
      throw bad(at, "the sender's mark for an error: it could not read the attributes");
    } else if (flags !== 0x08) {
      throw bad(at, `the flags 0x${flags.toString(16)}`);
    }
  }
}

function* readHashTable(w: Window, type: SectionType): Step<readonly FieldNode[]> {
  const what = "the hash page table";
  const summary = new Summary(w);
  const start = w.offset;
  yield* need(w, 4, what);
  const head = w.uint32();
  if (type === "start") {
    summary.add("shift", "uint32", 4, head);
    return summary.fields;
  }
  if (head === 0xffff_ffff) return [];
  if (head !== 0) throw bad(start, `a head of 0x${head.toString(16)}`);
  let entries = 0;
  for (;;) {
    yield* need(w, 8, what);
    const index = w.uint32();
    const valid = w.uint16();
    const invalid = w.uint16();
    if (index === 0 && valid === 0 && invalid === 0) return totals(start, w.offset, { entries });
    entries += valid;
    w.pos += valid * 16;
  }
}

const vfioTag = { end: 0x1, configState: 0x2, setup: 0x3, data: 0x4, initDataSent: 0x5 } as const;

function* readVfio(w: Window, _type: SectionType, search: FooterSearch): Step<readonly FieldNode[]> {
  const what = "a VFIO device's state";
  const start = w.offset;
  let bytes = 0;
  for (;;) {
    yield* need(w, 8, what);
    const at = w.offset;
    const high = w.uint32();
    const low = w.uint32();
    const tag = low - 0xef10_0000;
    if (high !== 0xffff_ffff || tag < 1 || tag > 5) {
      throw bad(at, `0x${high.toString(16)}${low.toString(16).padStart(8, "0")}, which is not a mark of VFIO`);
    }
    if (tag === vfioTag.end || tag === vfioTag.initDataSent) return totals(start, w.offset, { bytes });
    if (tag === vfioTag.data) {
      yield* need(w, 8, what);
      const length = lengthOf(w, what);
      bytes += length;
      w.pos += length;
    } else if (tag === vfioTag.configState) {
      // Its length is not sent: it ends with the end mark before the section's footer.
      const length = yield* findFooter(w, search);
      if (length === undefined || length < 8) throw bad(at, "a config state without an end that can be found");
      const summary = new Summary(w);
      w.pos += length - 8;
      summary.add("configState", "opaque", length - 8, undefined);
      w.pos += 8;
      return [...summary.fields, ...totals(start, w.offset, { bytes })];
    }
  }
}

function totals(start: number, end: number, counts: Readonly<Record<string, number>>): FieldNode[] {
  return Object.entries(counts).map(([name, value]) => ({
    name,
    type: "summary",
    offset: start,
    size: end - start,
    value,
    fields: undefined,
  }));
}

/** A be64 length, which the window holds already. */
function lengthOf(w: Window, what: string): number {
  const value = w.uint64();
  if (value > 2n ** 48n) {
    throw new CprkitError("ERR_RANGE", `${what} announces 0x${value.toString(16)} bytes, more than possible`, {
      offset: w.offset - 8,
    });
  }
  return Number(value);
}

function bad(offset: number, found: string): CprkitError {
  return new CprkitError("ERR_BAD_STREAM", `expected the next part of this section, found ${found}`, { offset });
}
