// The body and footer of one section.

import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import type { VmdescDevice } from "../../vmstate/vmdesc/read.ts";
import { hex } from "../../vmstate/wire/reader.ts";
import { decodeBody, decodeCut } from "../device/decode.ts";
import type { DeviceState, Section } from "../model.ts";
import { sectionLabel } from "../paths.ts";
import { readRamBody } from "../ram/section.ts";
import { item } from "./constants.ts";
import { findFooter, itemFollows } from "./footer.ts";
import { iterativeReader } from "./iterative.ts";
import { globalStateVmstate } from "./known.ts";
import { deviceOf, keep, note, ramState, type Walk } from "./walk-state.ts";
import { cut, has, need, type Step, type Window } from "./window.ts";

type Description = NonNullable<DeviceState["description"]>;

/**
 * Reads what follows the section's header. If the body is wrong, this is noted and the walk continues after the
 * section's footer, where one is found. Throws what ends the walk: ERR_EOF, or what was wrong.
 */
export function* readSection(w: Window, walk: Walk, section: Section): Step<void> {
  try {
    yield* readBody(w, walk, section);
    section.bodySize = w.offset - section.bodyOffset;
    yield* readFooter(w, walk, section);
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    const problem = error.within(sectionLabel(section));
    const ended = problem.code === "ERR_EOF" && w.ended;
    const reached = Math.min(w.offset, w.endOffset);
    if (ended || !(yield* resume(w, walk, section))) {
      section.bodySize = reached - section.bodyOffset;
      section.size = section.bodyOffset + section.bodySize - section.offset;
      throw problem;
    }
    section.opaque ??= `not understood: ${problem.reason}`;
    note(walk, problem);
  }
  section.size = w.offset - section.offset;
}

/** Continues after the footer of a section that was not understood. */
function* resume(w: Window, walk: Walk, section: Section): Step<boolean> {
  if (walk.footers === false) return false;
  const found = yield* findFooter(w, { id: section.id, started: walk.started, keep: false });
  if (found === undefined) return false;
  section.bodySize = w.offset - section.bodyOffset;
  section.footer = true;
  w.pos += 5;
  return true;
}

function* readFooter(w: Window, walk: Walk, section: Section): Step<void> {
  if (!(yield* has(w, 1))) throw cut(w, 1, "a section, before its footer");
  const byte = w.bytes[w.pos] as number;
  if (byte !== item.footer && walk.footers !== true) {
    walk.footers = false;
    return;
  }
  yield* need(w, 5, "a section's footer");
  const id = w.view.getUint32(w.pos + 1);
  if (byte !== item.footer || id !== section.id) {
    const found = byte === item.footer ? `one of section ${id}` : `the byte ${hex(byte)}`;
    const reason = `expected the footer of section ${section.id} (7e and its id), found ${found}`;
    const problem = new CprkitError("ERR_BAD_STREAM", reason, { offset: w.offset });
    // Only the footer is damaged if the next item is where it should be.
    if (!(yield* itemFollows(w, 5, walk.started))) throw problem;
    note(walk, problem.within(sectionLabel(section)));
  }
  w.pos += 5;
  walk.footers = true;
  section.footer = true;
}

function* readBody(w: Window, walk: Walk, section: Section): Step<void> {
  const { type, name } = section;
  if (name === "ram" && type !== "full") {
    yield* readRamBody(w, ramState(walk));
    return;
  }
  if (type === "full") {
    yield* readDevice(w, walk, section);
    return;
  }
  const search = { id: section.id, started: walk.started, keep: true, most: walk.options.maxState };
  const reader = iterativeReader(name);
  if (reader !== undefined) {
    section.fields = yield* reader(w, type, search);
    return;
  }
  section.opaque = "an iterative section whose form cprkit does not know; its end was found by its footer";
  yield* readOpaque(w, walk, section);
}

/** Steps over a body whose end only its footer shows. */
function* readOpaque(w: Window, walk: Walk, section: Section): Step<void> {
  if (walk.footers === false) {
    throw new CprkitError(
      "ERR_BAD_STREAM",
      `nothing describes this section, and the stream has no footers: where it ends is unknown`,
      { offset: section.bodyOffset },
    );
  }
  const found = yield* findFooter(w, { id: section.id, started: walk.started, keep: false });
  if (found === undefined) throw cut(w, 5, "a section, before its footer");
}

function* readDevice(w: Window, walk: Walk, section: Section): Step<void> {
  const device = yield* deviceOf(w, walk, section.name, section.instance);
  if (device === undefined) {
    yield* readUndescribed(w, walk, section);
    return;
  }
  const { description } = device;
  const length = device.length ?? (yield* lengthByFooter(w, walk, section)) ?? (yield* lengthByLoading(w, device));
  keep(walk, length, section.bodyOffset);
  if (!(yield* has(w, length))) {
    const body = w.copy(Math.max(0, w.available));
    const { fields, error } = decodeCut(description, body, length, section.bodyOffset);
    section.fields = fields;
    section.device = { body, description, state: undefined };
    throw error;
  }
  walk.stateBytes += length;
  if (yield* endsAt(w, walk, section, length)) {
    const error = decode(section, description, w.copy(length));
    if (error !== undefined) throw error;
    return;
  }
  yield* readMisdescribed(w, walk, section, description, length);
}

/** True if the section can end `length` bytes ahead: there is its footer, or an item in a stream without footers. */
function* endsAt(w: Window, walk: Walk, section: Section, length: number): Step<boolean> {
  if (walk.footers === false || !(yield* has(w, length + 1))) return true;
  if (w.bytes[w.pos + length] !== item.footer) {
    return walk.footers === undefined && (yield* itemFollows(w, length, walk.started));
  }
  return !(yield* has(w, length + 5)) || w.view.getUint32(w.pos + length + 1) === section.id;
}

/** The JSON gives another length than the stream has: the footer decides. */
function* readMisdescribed(
  w: Window,
  walk: Walk,
  section: Section,
  description: Description,
  length: number,
): Step<void> {
  const found = yield* findFooter(w, {
    id: section.id,
    started: walk.started,
    keep: true,
    most: walk.options.maxState,
  });
  if (found === undefined) {
    // Perhaps only the footer is wrong: that is checked next.
    const error = decode(section, description, w.copy(length));
    if (error !== undefined) throw error;
    return;
  }
  const error = decode(section, description, w.copy(found));
  throw (
    error ??
    new CprkitError("ERR_BAD_STREAM", `its description gives it ${length} bytes, but it has ${found}`, {
      offset: section.bodyOffset + Math.min(length, found),
    })
  );
}

/** Length of a body if the JSON does not give it: up to its footer. */
function* lengthByFooter(w: Window, walk: Walk, section: Section): Step<number | undefined> {
  if (walk.footers === false) return undefined;
  return yield* findFooter(w, { id: section.id, started: walk.started, keep: true, most: walk.options.maxState });
}

/** Bytes that may be kept to find the length by loading. */
const maxLoad = 64 * 1024 * 1024;

function* lengthByLoading(w: Window, device: VmdescDevice): Step<number> {
  yield* has(w, maxLoad);
  return decodeBody(device.description, w.bytes.subarray(w.pos, w.end), w.offset).length;
}

/** A FULL section that no JSON describes. */
function* readUndescribed(w: Window, walk: Walk, section: Section): Step<void> {
  if (section.name === "globalstate") {
    yield* has(w, 104);
    const error = decode(section, globalStateVmstate, w.copy(Math.min(104, Math.max(0, w.available))));
    if (error !== undefined) throw error;
    return;
  }
  section.opaque =
    walk.vmdescription === undefined
      ? "the stream's JSON description is missing, and without it the content of this section is unknown"
      : "the stream's JSON description does not have this section";
  yield* readOpaque(w, walk, section);
}

/** Decodes the body into the section; returns what was wrong. */
function decode(section: Section, description: Description, body: Uint8Array): CprkitError | undefined {
  const { fields, state, length, error } = decodeBody(description, body, section.bodyOffset);
  section.fields = fields;
  const whole = error === undefined && length === body.length;
  section.device = { body, description, state: whole ? state : undefined };
  if (error !== undefined || whole) return error;
  return new CprkitError("ERR_TRAILING_BYTES", `its description ends here, but ${body.length - length} bytes follow`, {
    offset: section.bodyOffset + length,
  });
}
