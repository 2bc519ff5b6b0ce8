// Compares two descriptions of one body: versions, fields in their order, subsections.

import { fieldPath } from "../paths.ts";
import { type FieldQueue, fieldQueue } from "./field-queue.ts";
import { type CheckFinding, type Found, finding } from "./findings.ts";
import type { CheckBody, CheckField } from "./side.ts";
import { sameWire } from "./wire.ts";

export interface CheckContext {
  readonly findings: CheckFinding[];
  readonly section: string;
  /** The destination lists all that it may take, not only what one machine sent. */
  readonly exhaustive: boolean;
  /** Sizes mean the same on both sides: bytes in the stream, or bytes in memory. */
  readonly comparableSizes: boolean;
  readonly sourceIsDump: boolean;
  /** Its stream was surely written by a QEMU before 11. */
  readonly destinationIsOld: boolean;
  /**
   * Whether an array of `ours` elements, in the destination's stream `theirs`, has its length from a number that is sent
   * beside it; undefined if the values are unknown.
   */
  travels?(place: string, ours: number, theirs: number): boolean;
  /** Whether a flag that is sent beside the field, which only one side has, decides that; undefined likewise. */
  flagged?(place: string, isOurs: boolean): boolean;
}

interface Versioned {
  readonly version: number | undefined;
  readonly minimumVersion: number | undefined;
}

type CheckNested = (context: CheckContext, path: string, source: CheckBody, destination: CheckBody) => void;

/** Notes a version that the destination refuses. */
export function checkVersions(
  context: CheckContext,
  path: string,
  what: string,
  source: Versioned,
  destination: Versioned,
): void {
  const { version } = source;
  if (version === undefined || destination.version === undefined) return;
  if (version > destination.version) {
    note(context, path, finding.versionTooNew(what, version, destination.version));
  }
  if (destination.minimumVersion !== undefined && version < destination.minimumVersion) {
    note(context, path, finding.versionTooOld(what, version, destination.minimumVersion));
  }
}

/** Compares the fields in order, then the subsections by name. */
export function checkFields(
  context: CheckContext,
  path: string,
  source: CheckBody,
  destination: CheckBody,
  nested: CheckNested,
): void {
  const fromStreams = context.comparableSizes && !context.sourceIsDump;
  if (fromStreams && sameWire(source, destination)) checkInside(context, path, source, destination, nested);
  else checkOrder(context, path, source, destination, nested);
  for (const subsection of source.subsections) {
    const others = destination.subsections.filter(({ name }) => name === subsection.name);
    const at = fieldPath(path, subsection.name);
    if (others.length === 0) {
      const missing = context.exhaustive ? finding.subsectionUnknown : finding.subsectionNotSent;
      note(context, at, missing(subsection.name));
      continue;
    }
    // Two may have one name, for two kinds of a device: one that fits is enough.
    const results = others.map((other) => {
      const findings: CheckFinding[] = [];
      checkVersions({ ...context, findings }, at, `subsection "${subsection.name}"`, subsection, other);
      nested({ ...context, findings }, at, subsection, other);
      return findings;
    });
    const fits = results.find((found) => !found.some(({ severity }) => severity === "error"));
    context.findings.push(...(fits ?? results[0] ?? []));
  }
}

/** What is inside structures, if the bytes around them are the same: versions and subsections. */
function checkInside(
  context: CheckContext,
  path: string,
  source: CheckBody,
  destination: CheckBody,
  nested: CheckNested,
): void {
  const bodies = (fields: readonly CheckField[]) => fields.filter(({ body }) => body !== undefined);
  const byName = new Map(bodies(destination.fields).map((field) => [field.name, field.body]));
  for (const field of bodies(source.fields)) {
    const { name, body } = field;
    const other = byName.get(name);
    if (body === undefined || other === undefined || body.name !== other.name) continue;
    const place = fieldPath(path, name);
    checkVersions(context, place, `"${body.name}"`, body, other);
    nested(context, elementPath(context, place, field), body, other);
  }
}

/** The first element of an array of structures, for which one description stands. */
function elementPath({ sourceIsDump }: CheckContext, place: string, { count }: CheckField): string {
  return !sourceIsDump && count !== undefined && count > 1 ? fieldPath(place, 0) : place;
}

function checkOrder(
  context: CheckContext,
  path: string,
  source: CheckBody,
  destination: CheckBody,
  nested: CheckNested,
): void {
  // A stream numbers fields of one name; a dump does not.
  const plain = context.comparableSizes ? (name: string) => name : (name: string) => name.replace(/\[\d+\]$/, "");
  const ours = fieldQueue(context.comparableSizes ? source.fields : folded(source.fields), plain);
  const theirs = fieldQueue(context.comparableSizes ? destination.fields : folded(destination.fields), plain);
  for (let field = ours.peek(); field !== undefined; field = ours.peek()) {
    const place = fieldPath(path, field.name);
    const next = theirs.peek();
    if (next !== undefined && context.comparableSizes && isRenamed(field, next, ours.peek(1), theirs.peek(1))) {
      takeRenamed(context, place, ours, theirs, nested);
      continue;
    }
    const ahead = theirs.ahead(field.name);
    if (ahead >= 0) {
      ours.take(1);
      noteUnexpected(context, path, source, theirs.take(ahead));
      const [other] = theirs.take(1) as [CheckField];
      if (context.sourceIsDump && context.exhaustive) checkExists(context, place, source, field, other);
      compare(context, place, field, other, nested);
      continue;
    }
    if (next === undefined || ours.comesLater(next.name)) {
      ours.take(1);
      noteMissing(context, place, field, destination);
      if (next === undefined && context.comparableSizes) return;
      continue;
    }
    // Fields that moved into a structure, or out of one, stay the same on the wire.
    const inner = next.body?.fields[0];
    if (inner !== undefined && plain(inner.name) === plain(field.name)) {
      theirs.open(next.body?.fields ?? []);
      continue;
    }
    const opened = field.body?.fields[0];
    if (opened !== undefined && plain(opened.name) === plain(next.name)) {
      ours.open(field.body?.fields ?? []);
      continue;
    }
    if (sameShape(field, next)) {
      takeRenamed(context, place, ours, theirs, nested);
      continue;
    }
    note(context, place, finding.fieldDiffers(next.name));
    return;
  }
  noteUnexpected(context, path, source, theirs.take(Number.POSITIVE_INFINITY));
}

/** One field for all elements of an array, as a dump has it. */
function folded(fields: readonly CheckField[]): CheckField[] {
  return fields
    .filter(({ element = 0 }) => element === 0)
    .map((field) => (field.element === undefined ? field : { ...field, name: field.name.replace(/\[0\]$/, "") }));
}

/** Another name between fields that are the same: what was "mode" may be "unused" today. */
function isRenamed(
  field: CheckField,
  other: CheckField,
  following: CheckField | undefined,
  otherFollowing: CheckField | undefined,
): boolean {
  if (field.name === other.name || !sameShape(field, other)) return false;
  return following !== undefined && following.name === otherFollowing?.name;
}

/** The next field of both sides: the same under two names. */
function takeRenamed(
  context: CheckContext,
  place: string,
  ours: FieldQueue,
  theirs: FieldQueue,
  nested: CheckNested,
): void {
  const [[field], [other]] = [ours.take(1) as [CheckField], theirs.take(1) as [CheckField]];
  note(context, place, finding.fieldRenamed(other.name));
  if (field.body !== undefined && other.body !== undefined) nested(context, place, field.body, other.body);
}

function sameShape(a: CheckField, b: CheckField): boolean {
  const sameBody = (a.body === undefined) === (b.body === undefined);
  if (!sameBody || a.size === undefined || b.size === undefined) return false;
  if (a.type !== undefined && b.type !== undefined)
    return a.size === b.size && a.count === b.count && a.type === b.type;
  // Between two dumps, sizes are those of elements in memory; between a stream and a dump, of all and of one.
  if (a.type === undefined && b.type === undefined) return a.size === b.size && a.count === b.count;
  const element = ({ type, size = 0, count = 1 }: CheckField) => (type === undefined ? size : size / count);
  return element(a) === element(b) || a.size === b.size;
}

function noteMissing(context: CheckContext, place: string, field: CheckField, destination: CheckBody): void {
  if (context.flagged?.(place, true) === true) return;
  const conditional = field.conditional || field.since > destination.version;
  const maybeEmpty = context.sourceIsDump && !context.exhaustive;
  if (conditional) note(context, place, finding.conditionalFieldMissing());
  else if (maybeEmpty) note(context, place, finding.maybeEmptyFieldMissing());
  else note(context, place, finding.fieldMissing());
}

/** A field that is there on one side only at the version that the source sends. */
function checkExists(
  context: CheckContext,
  place: string,
  source: CheckBody,
  field: CheckField,
  other: CheckField,
): void {
  const sent = field.since <= source.version;
  if (sent === other.since <= source.version) return;
  const found = sent
    ? finding.fieldMissingAtVersion(source.version, other.since)
    : finding.fieldUnexpectedAtVersion(source.version, field.since);
  note(context, place, found);
}

const maxNames = 5;

/** Fields that the destination would read and the source does not send. */
function noteUnexpected(context: CheckContext, path: string, source: CheckBody, fields: readonly CheckField[]): void {
  // A test decides when the machine runs; QEMU has such tests so that old streams can be loaded.
  const read = fields.filter(
    (field) =>
      field.since <= source.version &&
      !field.conditional &&
      context.flagged?.(fieldPath(path, field.name), false) !== true &&
      !maybeArray(context, field),
  );
  const [first] = read;
  if (first === undefined) return;
  const names = read.slice(0, maxNames).map(({ name }) => `"${name}"`);
  const more = read.length > maxNames ? ` and ${read.length - maxNames} more` : "";
  const unexpected = context.comparableSizes ? finding.fieldUnexpected : finding.maybeEmptyFieldUnexpected;
  note(context, fieldPath(path, first.name), unexpected(names.join(", ") + more));
}

/** Structures that a dump has and a stream does not: an array of them that is empty leaves no trace in a stream. */
function maybeArray({ exhaustive, comparableSizes }: CheckContext, { body }: CheckField): boolean {
  return exhaustive && !comparableSizes && body !== undefined;
}

function compare(
  context: CheckContext,
  place: string,
  source: CheckField,
  destination: CheckField,
  nested: CheckNested,
): void {
  if (source.body !== undefined && destination.body !== undefined) {
    if (source.body.name !== destination.body.name) {
      note(context, place, finding.structureDiffers(source.body.name, destination.body.name));
      return;
    }
    checkCounts(context, place, source, destination);
    checkVersions(context, place, `"${source.body.name}"`, source.body, destination.body);
    nested(context, elementPath(context, place, source), source.body, destination.body);
    return;
  }
  if (source.body !== undefined && context.exhaustive) {
    note(context, place, finding.structureUndescribed(source.body.name));
    return;
  }
  if (source.type !== undefined && destination.type !== undefined && !sameNumber(source.type, destination.type)) {
    note(context, place, finding.typeDiffers(source.type, destination.type));
    return;
  }
  checkSizes(context, place, source, destination);
}

/** Lengths of arrays: between streams, each device has its own, or reads it from the stream. */
function checkCounts(context: CheckContext, place: string, source: CheckField, destination: CheckField): void {
  if (!context.comparableSizes || context.sourceIsDump) return;
  // QEMU does not say that an array has one element.
  const [ours, theirs] = [source.count ?? 1, destination.count ?? 1];
  if (ours === theirs || context.travels?.(place, ours, theirs) === true) return;
  const differs = context.travels === undefined ? finding.countMayDiffer : finding.countDiffers;
  note(context, place, differs(ours, theirs));
}

const varying: ReadonlySet<string> = new Set(["buffer", "unused_buffer", "bitmap"]);

function checkSizes(context: CheckContext, place: string, source: CheckField, destination: CheckField): void {
  const { size, count, type } = source;
  if (size === undefined || destination.size === undefined || !context.comparableSizes) {
    checkAgainstMemory(context, place, source, destination);
    return;
  }
  if (size === destination.size && (count === destination.count || !context.sourceIsDump)) return;
  // An older QEMU does not write the number of elements into its dump.
  const unknown = (count === undefined) !== (destination.count === undefined);
  if (size === destination.size && unknown) return;
  if (!context.sourceIsDump && size / (count ?? 1) === destination.size / (destination.count ?? 1)) {
    checkCounts(context, place, source, destination);
    return;
  }
  if (!context.sourceIsDump && type === "virtio") return;
  if (context.travels?.(place, size, destination.size) === true) return;
  const many = (one: number, times: number | undefined) => (times === undefined ? `${one}` : `${times} times ${one}`);
  const configured = type !== undefined && (varying.has(type) || isOpaque(type));
  const differs = configured ? finding.configuredSizeDiffers : finding.sizeDiffers;
  note(context, place, differs(many(size, count), many(destination.size, destination.count)));
}

/** Between a stream and a dump: the elements in the stream must have the size of those in memory. */
function checkAgainstMemory(context: CheckContext, place: string, source: CheckField, destination: CheckField): void {
  const [stream, dump] = context.sourceIsDump ? [destination, source] : [source, destination];
  if (stream.size === undefined || dump.size === undefined || dump.size === 0) return;
  if (stream.type === undefined || !/^(u?int(8|16|32|64)|bool)$/.test(stream.type)) return;
  if (stream.size % dump.size === 0) return;
  note(context, place, finding.sizeInMemoryDiffers(stream.size, dump.size));
}

/** The same, or whole numbers of one width: "int32" and "uint32 equal" are the same bytes. */
function sameNumber(a: string, b: string): boolean {
  const bits = (type: string) => /^u?int(8|16|32|64)( equal| le)?$/.exec(type)?.[1];
  return a === b || (bits(a) !== undefined && bits(a) === bits(b));
}

function isOpaque(type: string): boolean {
  return !/^(u?int(8|16|32|64)( equal| le)?|bool|timer|CPU_Double_U|fd|capability)$/.test(type);
}

/** Notes what was found at `path` in the section. */
export function note({ findings, section }: CheckContext, path: string, found: Found): void {
  findings.push({ ...found, section, path });
}
