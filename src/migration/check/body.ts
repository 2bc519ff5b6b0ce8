// Compares two descriptions of one body: versions, fields in their order, subsections.

import { fieldPath } from "../paths.ts";
import { type FieldQueue, fieldQueue } from "./field-queue.ts";
import type { CheckBody, CheckField } from "./side.ts";

/** Append only: programs compare with these. */
export type FindingCode =
  | "machine-differs"
  | "page-size-differs"
  | "capability-differs"
  | "ram-block-missing"
  | "ram-size-differs"
  | "section-missing"
  | "version-too-new"
  | "version-too-old"
  | "description-missing"
  | "description-differs"
  | "field-missing"
  | "field-unexpected"
  | "field-differs"
  | "field-renamed"
  | "type-differs"
  | "size-differs"
  | "subsection-missing";

export interface Finding {
  readonly code: FindingCode;
  readonly severity: "error" | "warning";
  /** "" for the machine as a whole. */
  readonly section: string;
  /** Field or subsection inside the section; "" for the section as a whole. */
  readonly path: string;
  readonly message: string;
}

export interface CheckContext {
  readonly findings: Finding[];
  readonly section: string;
  /** The destination lists all that it may take, not only what one machine sent. */
  readonly exhaustive: boolean;
  /** Sizes mean the same on both sides: bytes in the stream, or bytes in memory. */
  readonly comparableSizes: boolean;
  readonly sourceIsDump: boolean;
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
    note(
      context,
      "version-too-new",
      "error",
      path,
      `${what} has version ${version}, the destination knows up to ${destination.version}`,
    );
  }
  if (destination.minimumVersion !== undefined && version < destination.minimumVersion) {
    note(
      context,
      "version-too-old",
      "error",
      path,
      `${what} has version ${version}, the destination takes ${destination.minimumVersion} and newer`,
    );
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
  checkOrder(context, path, source, destination, nested);
  const known = new Map(destination.subsections.map((subsection) => [subsection.name, subsection]));
  for (const subsection of source.subsections) {
    const other = known.get(subsection.name);
    const at = fieldPath(path, subsection.name);
    if (other === undefined) {
      const [severity, why] = context.exhaustive
        ? (["error", "does not have: QEMU refuses an unknown subsection (error -2)"] as const)
        : (["warning", "did not send: it may still know it"] as const);
      note(
        context,
        "subsection-missing",
        severity,
        at,
        `subsection "${subsection.name}", which the destination ${why}`,
      );
    } else {
      checkVersions(context, at, `subsection "${subsection.name}"`, subsection, other);
      nested(context, at, subsection, other);
    }
  }
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
  const ours = fieldQueue(source.fields, plain);
  const theirs = fieldQueue(destination.fields, plain);
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
    note(
      context,
      "field-differs",
      "error",
      place,
      `the destination expects "${next.name}" here; the fields behind it were not compared`,
    );
    return;
  }
  noteUnexpected(context, path, source, theirs.take(Number.POSITIVE_INFINITY));
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
  noteRenamed(context, place, other);
  if (field.body !== undefined && other.body !== undefined) nested(context, place, field.body, other.body);
}

function sameShape(a: CheckField, b: CheckField): boolean {
  const sameBody = (a.body === undefined) === (b.body === undefined);
  return sameBody && a.size !== undefined && a.size === b.size && a.count === b.count && a.type === b.type;
}

function noteRenamed(context: CheckContext, place: string, other: CheckField): void {
  const what = `the destination has "${other.name}" here, of the same size`;
  note(
    context,
    "field-renamed",
    "warning",
    place,
    `${what}: names are not sent, so it is harmless if it means the same`,
  );
}

function noteMissing(context: CheckContext, place: string, field: CheckField, destination: CheckBody): void {
  const what = "a field that the destination does not have";
  if (field.conditional || field.since > destination.version) {
    note(context, "field-missing", "warning", place, `${what}; a test in the source decides whether it is sent`);
  } else if (context.sourceIsDump && !context.exhaustive) {
    note(context, "field-missing", "warning", place, `${what}; unless it is an array, and empty there`);
  } else note(context, "field-missing", "error", place, `${what}: it would read these bytes as the next field`);
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
  const [one, two] = sent ? ["source", "destination"] : ["destination", "source"];
  const since = sent ? other.since : field.since;
  const what = `at version ${source.version}, the field is there in the ${one}, but in the ${two} only from version ${since} on`;
  note(context, sent ? "field-missing" : "field-unexpected", "error", place, what);
}

const maxNames = 5;

/** Fields that the destination would read and the source does not send. */
function noteUnexpected(context: CheckContext, path: string, source: CheckBody, fields: readonly CheckField[]): void {
  // What a test decides is asked when the machine runs; QEMU writes such tests to let old streams in.
  const read = fields.filter((field) => field.since <= source.version && !field.conditional);
  const [first] = read;
  if (first === undefined) return;
  const names = read.slice(0, maxNames).map(({ name }) => `"${name}"`);
  const more = read.length > maxNames ? ` and ${read.length - maxNames} more` : "";
  const what = `${names.join(", ")}${more}, which the destination reads, but the source does not send`;
  // A stream does not mention an array of no elements, and a dump does not tell which fields are arrays.
  const [severity, unless] = context.comparableSizes
    ? (["error", ""] as const)
    : (["warning", "; unless it is an array, and empty"] as const);
  note(context, "field-unexpected", severity, fieldPath(path, first.name), what + unless);
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
      note(
        context,
        "description-differs",
        "error",
        place,
        `a "${source.body.name}", in the destination a "${destination.body.name}"`,
      );
      return;
    }
    checkVersions(context, place, `"${source.body.name}"`, source.body, destination.body);
    nested(context, place, source.body, destination.body);
    return;
  }
  if (source.body !== undefined && context.exhaustive) {
    note(
      context,
      "description-missing",
      "error",
      place,
      `a "${source.body.name}", which has no description in the destination`,
    );
    return;
  }
  if (source.type !== undefined && destination.type !== undefined && source.type !== destination.type) {
    note(context, "type-differs", "error", place, `of type "${source.type}", in the destination "${destination.type}"`);
    return;
  }
  checkSizes(context, place, source, destination);
}

const varying: ReadonlySet<string> = new Set(["buffer", "unused_buffer", "bitmap"]);

function checkSizes(context: CheckContext, place: string, source: CheckField, destination: CheckField): void {
  const { size, count, type } = source;
  if (size === undefined || destination.size === undefined || !context.comparableSizes) {
    checkAgainstMemory(context, place, source, destination);
    return;
  }
  if (size === destination.size && count === destination.count) return;
  const many = (one: number, times: number | undefined) => (times === undefined ? `${one}` : `${times} times ${one}`);
  const message = `of ${many(size, count)} bytes, in the destination ${many(destination.size, destination.count)}`;
  // In a stream a field of another length may only mean another device's configuration.
  const certain = type === undefined || !(varying.has(type) || isOpaque(type));
  note(context, "size-differs", certain ? "error" : "warning", place, message);
}

/** Between a stream and a dump: the elements in the stream must have the size of those in memory. */
function checkAgainstMemory(context: CheckContext, place: string, source: CheckField, destination: CheckField): void {
  const [stream, dump] = context.sourceIsDump ? [destination, source] : [source, destination];
  if (stream.size === undefined || dump.size === undefined || dump.size === 0) return;
  if (stream.type === undefined || !/^(u?int(8|16|32|64)|bool)$/.test(stream.type)) return;
  if (stream.size % dump.size === 0) return;
  note(
    context,
    "size-differs",
    "error",
    place,
    `${stream.size} bytes in the stream are no multiple of the ${dump.size} bytes that an element has`,
  );
}

function isOpaque(type: string): boolean {
  return !/^(u?int(8|16|32|64)( equal| le)?|bool|timer|CPU_Double_U|fd|capability)$/.test(type);
}

function note(
  context: CheckContext,
  code: FindingCode,
  severity: Finding["severity"],
  path: string,
  message: string,
): void {
  context.findings.push({ code, severity, section: context.section, path, message });
}
