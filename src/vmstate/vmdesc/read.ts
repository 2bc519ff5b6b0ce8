// Builds descriptions from the JSON description that a stream carries: a stream explains itself.

import { type Description, describe } from "../description.ts";
import { CprkitError } from "../error.ts";
import { array } from "../fields/arrays.ts";
import { opaque } from "../fields/buffers.ts";
import { int32Equal, int32Le, uint8Equal, uint16Equal, uint32Equal, uint64Equal } from "../fields/checked.ts";
import { capability, gbytearray } from "../fields/counted.ts";
import { fd } from "../fields/fd.ts";
import { bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64 } from "../fields/integers.ts";
import { nullPointer } from "../fields/pointers.ts";
import { bitmap, cpuDouble, timer } from "../fields/values.ts";
import type { AnyField, NamedField, NamedSubsection } from "../types.ts";
import { maxDepth } from "../wire/reader.ts";
import { decodeText } from "../wire/text.ts";
import { described, describedList, describedTree, type PlainState, type RunPart, run } from "./fields.ts";
import { parseJson } from "./json.ts";
import {
  type BodyShape,
  bad,
  bodyShape,
  countOf,
  type DeviceShape,
  deviceShape,
  type EntryShape,
  itemsOf,
  member,
  objectAt,
} from "./shape.ts";

/** A body that a stream describes. */
export interface VmdescBody {
  /** Loads and saves exactly the bytes that the stream has here. Its state: field name to value, arrays as arrays. */
  readonly description: Description<PlainState>;
  /**
   * Bytes of the body: any device can be skipped by it. Undefined when the JSON does not tell (an array of texts of
   * various lengths). QEMU describes the first element of an array only: where the others differ it is wrong, which
   * the section's footer shows.
   */
  readonly length: number | undefined;
}

/** An entry of "devices". */
export interface VmdescDevice extends VmdescBody {
  /** The section's idstr. */
  readonly name: string;
  readonly instanceId: number;
  /** An old-style handler (slirp, s390 keys): no VMSD, its bytes are in the field "data". */
  readonly oldStyle: boolean;
}

/** Something in the JSON that does not add up: the field is loaded as raw bytes. */
export interface VmdescWarning {
  /** Such as "0000:00:02.0/e1000/e1000/mac_reg". */
  readonly path: string;
  /** In the JSON. */
  readonly offset: number;
  readonly reason: string;
}

/** The JSON description of a whole stream. */
export interface Vmdesc {
  readonly pageSize: number | undefined;
  readonly configuration: VmdescBody | undefined;
  readonly devices: readonly VmdescDevice[];
  readonly warnings: readonly VmdescWarning[];
}

/**
 * A kind for a field of which the JSON says only type and size in bytes, in a description of this name; undefined for one
 * that stays bytes.
 */
export type OpaqueKinds = (type: string, size: number, within: string) => AnyField | undefined;

/**
 * Reads the JSON description at a stream's end (the bytes after 06 and the length). Known types become their typed
 * kinds, unknown ones are what `kinds` makes of them, else as many bytes as the JSON says. Throws ERR_BAD_STREAM with the offset in the JSON,
 * ERR_DEPTH, ERR_LIMIT. (Format: QEMU 10.0 migration/savevm.c, vmstate.c)
 */
export function parseVmdesc(json: string | Uint8Array, kinds: OpaqueKinds = noKinds): Vmdesc {
  const root = objectAt(parseJson(textOf(json)), "it");
  const warnings: VmdescWarning[] = [];
  const configuration = member(root, "configuration");
  return {
    pageSize: member(root, "page_size") === undefined ? undefined : countOf(root, "page_size"),
    configuration:
      configuration === undefined ? undefined : whole(bodyShape(configuration), "configuration", warnings, kinds),
    devices: itemsOf(root, "devices").map((value) => buildDevice(deviceShape(value), warnings, kinds)),
    warnings,
  };
}

function noKinds(): undefined {
  return undefined;
}

/** As {@link parseVmdesc}, for the JSON of one description, such as `toVmdesc` writes. */
export function fromVmdesc(json: string | Uint8Array): VmdescBody {
  const shape = bodyShape(parseJson(textOf(json)));
  return whole(shape, shape.name, [], noKinds);
}

function textOf(json: string | Uint8Array): string {
  return typeof json === "string" ? json : decodeText(json, 0, json.length);
}

/** A field, its bytes (undefined: the JSON does not tell) and how many values it makes. */
interface Built {
  readonly field: AnyField;
  readonly length: number | undefined;
  readonly weight: number;
}

interface BuiltBody {
  /** Undefined: no description can be made, only the length is known. */
  readonly description: Description<PlainState> | undefined;
  readonly length: number | undefined;
  readonly weight: number;
}

interface Context {
  readonly path: string;
  readonly depth: number;
  readonly warnings: VmdescWarning[];
  readonly kinds: OpaqueKinds;
  /** Name of the description around the field. */
  readonly within: string;
}

function buildDevice(shape: DeviceShape, warnings: VmdescWarning[], kinds: OpaqueKinds): VmdescDevice {
  const { name, instanceId, body, size = 0 } = shape;
  const common = { name, instanceId, oldStyle: body === undefined };
  return { ...common, ...(body === undefined ? rawBody(name, 0, size) : whole(body, name, warnings, kinds)) };
}

function whole(shape: BodyShape, path: string, warnings: VmdescWarning[], kinds: OpaqueKinds): VmdescBody {
  const { description, length } = buildBody(shape, { path, depth: 0, warnings, kinds, within: shape.name });
  if (description !== undefined) return { description, length };
  if (length === undefined) throw bad(shape, `"${shape.name}" has no length, nor subsections that can be loaded`);
  return rawBody(shape.name, shape.version, length);
}

function rawBody(name: string, version: number, length: number): VmdescBody {
  const fields: NamedField[] = [{ name: "data", field: opaque("buffer", length) }];
  return { description: describe({ name, version, minimumVersion: 0, fields, subsections: [] }), length };
}

function buildBody(shape: BodyShape, outer: Context, minimumVersion = 0): BuiltBody {
  const { name, version } = shape;
  if (outer.depth > maxDepth)
    throw new CprkitError("ERR_DEPTH", `the JSON description nests deeper than ${maxDepth}`, { offset: shape.offset });
  const fields: NamedField[] = [];
  const subsections: NamedSubsection[] = [];
  const names = new Set<string>();
  let length: number | undefined = 0;
  let weight = 1;
  for (const entries of runsOf(shape.fields)) {
    const [first] = entries as [EntryShape];
    checkName(first, first.name, names);
    const built = buildField(entries, {
      ...outer,
      path: `${outer.path}/${first.name}`,
      depth: outer.depth + 1,
      within: name,
    });
    fields.push({ name: first.name, field: built.field });
    length = sum(length, built.length);
    weight += built.weight;
  }
  let loadable = true;
  for (const subsection of shape.subsections) {
    checkName(subsection, subsection.name, names);
    const path = `${outer.path}/${subsection.name}`;
    // The stream has its version, too: with another one it would not be written as it came.
    const built = buildBody(subsection, { ...outer, path, depth: outer.depth + 1 }, subsection.version);
    length = sum(length, sum(2 + subsection.name.length + 4, built.length));
    weight += built.weight;
    const found = built.description !== undefined && subsection.name.startsWith(name) && subsection.name !== name;
    if (!found || subsection.name.length > 255) {
      const reason = `no loader finds a subsection of this name in "${name}"`;
      outer.warnings.push({ path, offset: subsection.offset, reason });
      loadable = false;
    } else if (built.description !== undefined) {
      subsections.push({ key: subsection.name, description: built.description });
    }
  }
  const description = loadable ? describe({ name, version, minimumVersion, fields, subsections }) : undefined;
  return { description, length, weight };
}

/** Entries of one name that follow one another belong to one array. */
function runsOf(entries: readonly EntryShape[]): EntryShape[][] {
  const runs: EntryShape[][] = [];
  for (const entry of entries) {
    const last = runs.at(-1);
    if (last?.[0]?.name === entry.name) last.push(entry);
    else runs.push([entry]);
  }
  return runs;
}

function buildField(entries: readonly EntryShape[], context: Context): Built {
  const [first, second] = entries as [EntryShape, EntryShape?];
  if (second === undefined && first.arrayLength === undefined) return buildEntry(first, context);
  if (second === undefined && first.arrayLength !== undefined && !isNull(first)) {
    const element = buildEntry(first, context);
    const bytes = tooManyValues(first, first.arrayLength, element, context);
    if (bytes !== undefined) return bytes;
    const field = { ...array(element.field as never, first.arrayLength), compressible: true } as AnyField;
    return { field, ...times(element, first.arrayLength) };
  }
  const single = !compressed(entries);
  const parts: RunPart[] = [];
  let length: number | undefined = 0;
  let weight = 1;
  let type = first.type;
  for (const [at, entry] of entries.entries()) {
    const count = single ? 1 : countIn(entries, at);
    if (isNull(entry)) {
      parts.push({ field: undefined, count });
      length = sum(length, count);
      weight += count;
    } else {
      const whole = buildEntry(entry, context);
      const bytes = tooManyValues(entry, count, whole, context);
      const element = bytes ?? whole;
      const elements = bytes === undefined ? count : 1;
      parts.push({ field: element.field, count: elements });
      const all = times(element, elements);
      length = sum(length, all.length);
      weight += all.weight;
      type = entry.type;
    }
  }
  const field = run(type, parts, !single, entries.find(isNull)?.type) as AnyField;
  return { field, length, weight };
}

function isNull(entry: EntryShape): boolean {
  return entry.type === "nullptr" || entry.type === "ptr-marker";
}

/**
 * Whether an entry may stand for more than one element. QEMU then starts a new entry only where null pointers begin
 * or end; otherwise each element has its own, and an array_len of null pointers among them means nothing.
 */
function compressed(entries: readonly EntryShape[]): boolean {
  return entries.every(
    (entry, at) => entry.index === undefined && (at === 0 || isNull(entry) !== isNull(entries[at - 1] as EntryShape)),
  );
}

/**
 * Elements of a compressed entry. If an array begins with a pointer that is set and a null one follows, QEMU 10.0 and
 * 11 write the length of the whole array into its first entry.
 */
function countIn(entries: readonly EntryShape[], at: number): number {
  const count = entries[at]?.arrayLength ?? 1;
  if (at > 0 || isNull(entries[0] as EntryShape)) return count;
  const rest = entries.slice(1).reduce((total, entry) => total + (entry.arrayLength ?? 1), 0);
  return count > rest ? count - rest : count;
}

function buildEntry(entry: EntryShape, context: Context): Built {
  const { type, size } = entry;
  // One null pointer stands for all of an array here: where others are set, only the section's footer shows its end.
  if (type === "struct" && entry.struct === undefined)
    return { field: opaque(type, size), length: undefined, weight: 1 };
  const body = bodyEntry(entry, context);
  if (body !== undefined) return body;
  const typed = scalars.get(type)?.();
  if (typed !== undefined && (typed.size === undefined || typed.size === size))
    return { field: typed, length: typed.size, weight: 1 };
  if (type === "bitmap" && size % 8 === 0 && size <= maxBitmapBytes)
    return { field: bitmap(size * 8), length: size, weight: 1 };
  if (type === "fd" && (size === 1 || size === 4)) return { field: fd(), length: size, weight: 1 };
  if (typed !== undefined) warn(entry, context, `"${type}" has ${typed.size} bytes, not ${size}`);
  const own = context.kinds(type, size, context.within);
  return { field: own ?? opaque(type, size), length: size, weight: 1 };
}

/** For kinds that hold bodies; undefined if the bytes have to stay as they are. */
function bodyEntry(entry: EntryShape, context: Context): Built | undefined {
  const { type, size } = entry;
  const listed = listTypes.has(type);
  const shapes = type === "struct" ? [entry.struct] : listed || bodyTypes.has(type) ? entry.groups : undefined;
  if (shapes === undefined) return undefined;
  const bodies: BuiltBody[] = [];
  for (const shape of shapes) {
    if (shape !== undefined) bodies.push(buildBody(shape, { ...context, path: `${context.path}/${shape.name}` }));
  }
  const descriptions = bodies.flatMap(({ description }) => description ?? []);
  const weight = bodies.reduce((total, one) => total + one.weight, 1);
  const inside = bodies.reduce<number | undefined>((total, one) => sum(total, one.length), 0);
  if (descriptions.length === bodies.length) {
    if (!listed && descriptions.length === 1 && (inside === undefined || inside === size)) {
      const field = described(type, descriptions[0] as Description<PlainState>, inside);
      return { field: field as AnyField, length: inside, weight };
    }
    const field = listed ? listField(type, size, inside, descriptions) : undefined;
    if (field !== undefined) return { field, length: inside === undefined ? undefined : size, weight };
  }
  warn(entry, context, `"${type}" takes ${size} bytes, but its parts do not add up to that`);
  return undefined;
}

function listField(
  type: string,
  size: number,
  inside: number | undefined,
  descriptions: readonly Description<PlainState>[],
): AnyField | undefined {
  const count = descriptions.length;
  const frame = size - (inside ?? size);
  if (type !== "gtree") {
    return inside === undefined || frame === count + 1 ? (describedList(type, descriptions) as AnyField) : undefined;
  }
  // Count, then for each entry 01 and key and value, then 00; a direct key is not described: 8 bytes.
  if (frame === 5 + count * 9)
    return describedTree(
      type,
      descriptions.map((value) => ({ value })),
    ) as AnyField;
  if (frame !== 5 + count / 2) return undefined;
  const entries = [];
  for (let i = 0; i < count; i += 2) {
    entries.push({ key: descriptions[i], value: descriptions[i + 1] } as Parameters<typeof describedTree>[1][number]);
  }
  return describedTree(type, entries) as AnyField;
}

/** What `bitmap` takes; a longer one stays bytes. */
const maxBitmapBytes = 2 ** 25;

const bodyTypes: ReadonlySet<string> = new Set(["vstruct", "tmp"]);
const listTypes: ReadonlySet<string> = new Set(["qlist", "qtailq", "gtree"]);

/** A ptr-marker alone is that of a null pointer: one that is set has its value after it. */
function nullMarker(): AnyField {
  return { ...nullPointer(), type: "ptr-marker" };
}

const scalars: ReadonlyMap<string, () => AnyField> = new Map<string, () => AnyField>(
  [
    bool,
    ...[int8, int16, int32, int64, uint8, uint16, uint32, uint64],
    ...[uint8Equal, uint16Equal, int32Equal, uint32Equal, uint64Equal, int32Le],
    ...[cpuDouble, timer, nullPointer, nullMarker, capability, gbytearray],
  ].map((kind) => [kind().type, kind as () => AnyField]),
);

function warn(entry: EntryShape, { path, warnings }: Context, reason: string): void {
  warnings.push({ path, offset: entry.offset, reason: `${reason}: read as raw bytes` });
}

/** Throws for a name that cannot be a state's key, or that came before. */
function checkName(place: { readonly offset: number }, name: string, names: Set<string>): void {
  if (name === "__proto__" || /^\d+$/.test(name)) throw bad(place, `"${name}" cannot be a field's name`);
  if (names.has(name)) throw bad(place, `the name "${name}" comes again after others`);
  names.add(name);
}

/**
 * Values may take more memory than their bytes, but in proportion: an array of elements without bytes would let a
 * short description make a state of any size. Such an array stays bytes.
 */
function tooManyValues(entry: EntryShape, count: number, element: Built, context: Context): Built | undefined {
  const bytes = element.length ?? element.field.size ?? element.field.minimum ?? 0;
  if (count * element.weight <= 16 * count * bytes + 16) return undefined;
  const reason = `${count} elements of ${bytes} bytes each make more values than their bytes can mean`;
  const length = count * bytes;
  if (length > 0x7fff_ffff)
    throw new CprkitError("ERR_LIMIT", `the JSON description: ${reason}`, { offset: entry.offset });
  warn(entry, context, reason);
  return { field: opaque(entry.type, length), length, weight: 1 };
}

function times(element: Built, count: number): { length: number | undefined; weight: number } {
  return {
    length: element.length === undefined ? undefined : element.length * count,
    weight: element.weight * count + 1,
  };
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}
