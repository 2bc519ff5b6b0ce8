// Writes the JSON description of a state as QEMU writes it beside the bytes (QEMU 10.0 migration/vmstate.c): which
// fields exist, what they are called, how many bytes each took. It watches the state being saved.

import type { Description } from "../description.ts";
import { located, saveBody } from "../engine.ts";
import type { DescriptionFacts, FieldFacts } from "../facts.ts";
import { type ElementForm, type SaveObserver, Writer } from "../wire/writer.ts";
import { quote } from "./json.ts";

/** Whose manner: QEMU 11 leaves out "index" and calls null pointers "ptr-marker". */
export type VmdescStyle = "10.0" | "11.1";

/** Options of {@link toVmdesc}. */
export interface VmdescOptions {
  /** Default "10.0". */
  readonly for?: VmdescStyle | undefined;
  /** What comes before the description in "devices": the section's idstr and instance id. */
  readonly device?: { readonly name: string; readonly instanceId: number } | undefined;
}

/**
 * The JSON description of `state`: `{"vmsd_name": ..., "version": ..., "fields": [...]}`. Lists and trees repeat
 * their keys in one object, once for each element, as QEMU does; an ordinary JSON parser sees the last only. The
 * state's pre_save and post_save hooks run. Throws as `save` does.
 */
export function toVmdesc<State>(
  description: Description<State>,
  state: State,
  { for: style = "10.0", device }: VmdescOptions = {},
): string {
  const { observer, top } = recorder();
  const writer = new Writer();
  writer.observer = observer;
  try {
    saveBody(writer, description, state);
  } catch (error) {
    throw located(error, description.name);
  }
  const head = device === undefined ? "" : `"name": ${quote(device.name)}, "instance_id": ${device.instanceId}, `;
  return `{${head}${top.bodies.map((body) => bodyJson(body, style)).join(", ")}}`;
}

/** What was saved in one place: a field, an element, or everything. */
interface Saved {
  readonly start: number;
  end: number;
  readonly bodies: SavedBody[];
  readonly elements: SavedElement[];
}

interface SavedBody {
  readonly description: DescriptionFacts;
  readonly version: number;
  readonly fields: SavedField[];
  readonly subsections: SavedBody[];
}

interface SavedField extends Saved {
  readonly name: string;
  readonly field: FieldFacts;
}

interface SavedElement extends Saved {
  readonly form: ElementForm;
}

function recorder(): { observer: SaveObserver; top: Saved } {
  const top = saved(0);
  // What is open: bodies, and the places that bodies and elements belong to.
  const bodies: SavedBody[] = [];
  const places: Saved[] = [top];
  const place = () => places.at(-1) as Saved;
  const observer: SaveObserver = {
    enterBody: (description, version) => {
      const body: SavedBody = { description, version, fields: [], subsections: [] };
      const parent = bodies.at(-1);
      // Between the fields a body belongs to its field; after them it is a subsection.
      if (parent !== undefined && places.length === depths[bodies.length - 1]) parent.subsections.push(body);
      else place().bodies.push(body);
      bodies.push(body);
      depths.push(places.length);
    },
    leaveBody: () => {
      bodies.pop();
      depths.pop();
    },
    enterField: (name, field, offset) => {
      const one: SavedField = { ...saved(offset), name, field };
      bodies.at(-1)?.fields.push(one);
      places.push(one);
    },
    leaveField: (offset) => {
      (places.pop() as Saved).end = offset;
    },
    enterElement: (form, offset) => {
      places.push({ ...saved(offset), form } as SavedElement);
    },
    leaveElement: (offset) => {
      const element = places.pop() as SavedElement;
      element.end = offset;
      // Rows of columns are one array to QEMU: the rows leave no entry.
      if (element.elements.length > 0) place().elements.push(...element.elements.splice(0));
      else place().elements.push(element);
    },
  };
  /** How many places were open when each open body began. */
  const depths: number[] = [];
  return { observer, top };
}

function saved(start: number): Saved {
  return { start, end: start, bodies: [], elements: [] };
}

function bodyJson(body: SavedBody, style: VmdescStyle): string {
  const { description, version, fields, subsections } = body;
  const entries = fields.flatMap((field) => fieldJson(field, style));
  const head = `"vmsd_name": ${quote(description.name)}, "version": ${version}, "fields": [${entries.join(", ")}]`;
  if (subsections.length === 0) return head;
  return `${head}, "subsections": [${subsections.map((one) => `{${bodyJson(one, style)}}`).join(", ")}]`;
}

function fieldJson(saved: SavedField, style: VmdescStyle): string[] {
  const { field, elements } = saved;
  if (field.sequence === undefined) return [entryJson(saved.name, field.type, undefined, saved, style)];
  // Pointers with a marker each are never compressed.
  const marked = field.sequence === "marked pointers" || elements.some(({ form }) => form === "marker");
  const compress = !marked && canCompress(field);
  const entries: string[] = [];
  let silent = false;
  let wasNull = false;
  for (const [at, element] of elements.entries()) {
    let rest = elements.length - at;
    const isNull = element.form === "null";
    // QEMU looks for the end of a run only where null begins or ends: not at a first pointer that is set.
    if (isNull !== wasNull) {
      wasNull = isNull;
      silent = false;
      const change = elements.findIndex((other, i) => i > at && (other.form === "null") !== isNull);
      if (change > 0) rest = change - at;
    }
    if (!silent) {
      const plain = element.form === "value";
      const type = plain ? field.type : isNull && style === "10.0" ? "nullptr" : "ptr-marker";
      const count = rest === 1 || marked ? undefined : lengthKey(compress, isNull, at, rest, style);
      entries.push(entryJson(saved.name, type, count, element, style));
    }
    silent = compress;
  }
  return entries;
}

function lengthKey(
  compress: boolean,
  isNull: boolean,
  at: number,
  rest: number,
  style: VmdescStyle,
): string | undefined {
  // QEMU 10 asks the null pointer's own kind, which can always be compressed, also where its array cannot.
  if (compress || (isNull && style === "10.0")) return `"array_len": ${rest}`;
  return style === "10.0" ? `"index": ${at}` : undefined;
}

function entryJson(name: string, type: string, count: string | undefined, what: Saved, style: VmdescStyle): string {
  const bodies = what.bodies.map((body) => bodyJson(body, style));
  const parts = [`"name": ${quote(name)}`, count, `"type": ${quote(type)}`];
  if (type === "struct") parts.push(`"struct": {${bodies.join(", ")}}`);
  else parts.push(...bodies);
  parts.push(`"size": ${what.end - what.start}`);
  return `{${parts.filter((part) => part !== undefined).join(", ")}}`;
}

/** QEMU describes one element for all when nothing in it depends on the state. */
function canCompress(field: FieldFacts): boolean {
  if (field.compressible !== undefined) return field.compressible;
  if (field.exists !== undefined) return false;
  if (field.type !== "struct") return true;
  return (field.descriptions ?? []).every(
    ({ fields, subsections }) => subsections.length === 0 && fields.every((inner) => canCompress(inner.field)),
  );
}
