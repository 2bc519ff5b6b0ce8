// Walks a migration stream from item to item (QEMU 10.0 migration/savevm.c).

import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { hex } from "../../vmstate/wire/reader.ts";
import type { Migration, Section, SectionType } from "../model.ts";
import { sectionLabel } from "../paths.ts";
import { summarize } from "../ram/state.ts";
import { readCommand } from "./commands.ts";
import { readConfiguration } from "./configuration.ts";
import { item, magic, multifdMagic, streamVersion } from "./constants.ts";
import { itemFollows } from "./footer.ts";
import { readSection } from "./section.ts";
import { readTrailing, skipReturnPath } from "./surroundings.ts";
import { type FoundDescription, found } from "./vmdescription.ts";
import { keep, learn, newWalk, note, pageSize, type Walk, type WalkOptions } from "./walk-state.ts";
import { cut, has, need, type Step, type Window } from "./window.ts";

/** More than any machine has; a stream of empty sections must not cost more memory than its bytes. */
const maxSections = 65536;
/** From here on, PART sections of one id that follow each other share an entry. */
const maxParts = 4096;
const maxCommands = 65536;

/** Reads the whole stream. Throws ERR_BAD_MAGIC and ERR_VERSION_TOO_OLD/NEW; anything later ends up in the result. */
export function* walkStream(w: Window, options: WalkOptions, known: FoundDescription | undefined): Step<Migration> {
  const walk = newWalk(w.offset, options);
  if (known !== undefined) learn(walk, known);
  yield* readHeader(w, walk);
  let end = w.offset;
  try {
    walk.configuration = yield* readConfiguration(w);
    end = w.offset;
    while (yield* readItem(w, walk)) {
      end = w.offset;
      yield* skipToDevices(w, walk);
    }
    end = w.offset;
    yield* readEnd(w, walk);
    end = w.offset;
    walk.complete = true;
    walk.trailing = yield* readTrailing(w, walk.options);
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    walk.stopped = error;
    const last = walk.sections.at(-1);
    if (last !== undefined) end = Math.max(end, last.offset + last.size);
  }
  return result(walk, end);
}

/** From the first section that goes on with RAM to the devices, if these are known to be ahead. */
function* skipToDevices(w: Window, { options: { devicesAt = 0 } }: Walk): Step<void> {
  if (w.offset >= devicesAt || !(yield* has(w, 1))) return;
  const byte = w.bytes[w.pos];
  if (byte === item.part || byte === item.final) w.pos += devicesAt - w.offset;
}

function result(walk: Walk, end: number): Migration {
  return {
    format: "qevm",
    version: walk.version,
    offset: walk.offset,
    size: end - walk.offset,
    machine: walk.configuration?.machine,
    configuration: walk.configuration,
    pageSize: pageSize(walk).size,
    pageSizeStated: pageSize(walk).stated,
    sections: walk.sections,
    commands: walk.commands,
    ram: walk.ram === undefined ? undefined : summarize(walk.ram),
    vmdescription: walk.vmdescription,
    complete: walk.complete,
    trailing: walk.trailing,
    stopped: walk.stopped,
    problems: walk.problems,
  };
}

function* readHeader(w: Window, walk: Walk): Step<void> {
  const offset = w.offset;
  if (!(yield* has(w, 8))) {
    throw new CprkitError("ERR_BAD_MAGIC", `expected "QEVM" and a version, found ${Math.max(0, w.available)} bytes`, {
      offset,
    });
  }
  const first = w.uint32();
  if (first === multifdMagic) {
    throw new CprkitError(
      "ERR_BAD_MAGIC",
      "this is an extra channel of a multifd migration: it holds only pages, without their machine; inspect the main channel instead",
      { offset },
    );
  }
  if (first !== magic) {
    throw new CprkitError("ERR_BAD_MAGIC", `expected "QEVM" (5145564d), found ${first.toString(16).padStart(8, "0")}`, {
      offset,
    });
  }
  walk.version = w.uint32();
  if (walk.version !== streamVersion) {
    throw new CprkitError(
      walk.version < streamVersion ? "ERR_VERSION_TOO_OLD" : "ERR_VERSION_TOO_NEW",
      `the stream has version ${walk.version}; QEMU reads and writes only ${streamVersion}`,
      { offset: offset + 4 },
    );
  }
}

/** Reads one item. False at the end byte, which was read then. */
function* readItem(w: Window, walk: Walk): Step<boolean> {
  yield* need(w, 1, "the stream, where a section should begin");
  const offset = w.offset;
  const byte = w.uint8();
  switch (byte) {
    case item.end:
      return yield* skipReturnPath(w, walk);
    case item.start:
    case item.full: {
      yield* enter(w, walk, byte === item.start ? "start" : "full", offset);
      return true;
    }
    case item.part:
    case item.final: {
      yield* proceed(w, walk, byte === item.part ? "part" : "end", offset);
      return true;
    }
    case item.command:
      yield* command(w, walk);
      return true;
    default:
      w.pos -= 1;
      throw new CprkitError(
        "ERR_BAD_STREAM",
        `expected a section, a command or the stream's end, found the byte ${hex(byte)}`,
        { offset },
      );
  }
}

/** A START or FULL section. */
function* enter(w: Window, walk: Walk, type: SectionType, offset: number): Step<void> {
  const what = "a section's header";
  yield* need(w, 5, what);
  const id = w.uint32();
  const length = w.uint8();
  yield* need(w, length + 8, what);
  const name = w.text(length);
  const instance = w.uint32();
  const version = w.uint32();
  if (length === 0) throw new CprkitError("ERR_BAD_STREAM", "a section without a name", { offset });
  if (walk.started.has(id)) {
    throw new CprkitError(
      "ERR_DUPLICATE",
      `section "${name}" has id ${id}, which "${walk.started.get(id)?.name}" already has`,
      { offset },
    );
  }
  const section = add(walk, { type, id, name, instance, version, offset, bodyOffset: w.offset });
  walk.started.set(id, section);
  yield* readSection(w, walk, section);
}

/** A PART or END section: it continues a START. */
function* proceed(w: Window, walk: Walk, type: SectionType, offset: number): Step<void> {
  yield* need(w, 4, "a section's header");
  const id = w.uint32();
  const start = walk.started.get(id);
  if (start === undefined) {
    throw new CprkitError("ERR_BAD_STREAM", `a section continues id ${id}, which no section started`, { offset });
  }
  const { name, instance, version } = start;
  const section = add(walk, { type, id, name, instance, version, offset, bodyOffset: w.offset });
  yield* readSection(w, walk, section);
  fold(walk);
}

type SectionHeader = Pick<Section, "type" | "id" | "name" | "instance" | "version" | "offset" | "bodyOffset">;

function add(walk: Walk, header: SectionHeader): Section {
  const { offset, bodyOffset } = header;
  if (walk.sections.length >= maxSections) {
    throw new CprkitError("ERR_LIMIT", `the stream has more than ${maxSections} sections`, { offset });
  }
  const section: Section = {
    ...header,
    size: bodyOffset - offset,
    bodySize: 0,
    footer: false,
    count: 1,
    packaged: walk.packaged,
    fields: [],
    device: undefined,
    opaque: undefined,
  };
  walk.sections.push(section);
  return section;
}

/** Joins the last PART with the one before: a long migration has one for every 50 ms. */
function fold({ sections }: Walk): void {
  if (sections.length < maxParts) return;
  const last = sections.at(-1);
  const before = sections.at(-2);
  if (last?.type !== "part" || before?.type !== "part" || last.id !== before.id) return;
  before.count += last.count;
  before.size += last.size;
  before.bodySize += last.bodySize;
  sections.pop();
}

function* command(w: Window, walk: Walk): Step<void> {
  const offset = w.offset - 1;
  const { problem, ...read } = yield* readCommand(w);
  if (problem !== undefined) note(walk, problem);
  if (walk.commands.length >= maxCommands) {
    throw new CprkitError("ERR_LIMIT", `the stream has more than ${maxCommands} commands`, { offset });
  }
  const [first] = read.fields;
  if (read.number === 3 && typeof first?.value === "bigint") walk.postcopyPageSizes = first.value;
  const advised = read.number === 3 ? read.fields[1]?.value : undefined;
  if (typeof advised === "bigint") walk.advisedPageSize = Number(advised);
  const length = read.number === 7 && typeof first?.value === "number" ? first.value : 0;
  walk.commands.push({ offset, packaged: walk.packaged, ...read, size: read.size + length });
  if (length > 0) yield* readPackage(w, walk, length);
}

/** A PACKAGED command's content: items, without a header. */
function* readPackage(w: Window, walk: Walk, length: number): Step<void> {
  const end = w.offset + length;
  if (walk.packaged) throw new CprkitError("ERR_DEPTH", "a package inside a package", { offset: w.offset });
  walk.packaged = true;
  let more = true;
  while (more && w.offset < end) more = yield* readItem(w, walk);
  walk.packaged = false;
  if (w.offset > end) {
    throw new CprkitError("ERR_BAD_STREAM", `the package should end at byte ${end}, but its last section ends later`, {
      offset: w.offset,
    });
  }
  w.pos += end - w.offset;
  if (!(yield* has(w, 0))) throw cut(w, end - w.offset, "a package");
}

/** What follows the end byte. Throws ERR_BAD_STREAM if the end byte came too early: a damaged byte looks like one. */
function* readEnd(w: Window, walk: Walk): Step<void> {
  const endOffset = w.offset - 1;
  const fromElsewhere = walk.options.vmdesc !== undefined;
  const early = (reason: string) =>
    new CprkitError("ERR_BAD_STREAM", `the end byte 00 is here, but ${reason}`, { offset: endOffset });
  if (!(yield* has(w, 1)) || w.bytes[w.pos] !== item.description) {
    const described = walk.vmdescription !== undefined && !fromElsewhere;
    if (described || ((yield* has(w, 1)) && (yield* itemFollows(w, 0, walk.started))))
      throw early("the stream continues");
    // A stream with its description is whole without this: a background snapshot sends no END for RAM.
    for (const section of unfinished(walk))
      throw early(`section "${sectionLabel(section)}" has started, but did not end`);
    for (const name of missing(walk)) note(walk, early(`section "${name}" is missing, which the description has`));
    return;
  }
  const offset = w.offset;
  yield* need(w, 5, "the JSON description");
  const length = w.view.getUint32(w.pos + 1);
  keep(walk, length, offset);
  yield* need(w, 5 + length, "the JSON description");
  if (walk.vmdescription?.offset !== offset) {
    learn(walk, found(w.bytes.subarray(w.pos + 5, w.pos + 5 + length), offset));
  }
  w.pos += 5 + length;
  for (const name of missing(walk)) throw early(`section "${name}" is missing, which the description has`);
}

/** Sections with a START, but without an END (QEMU 10.0 migration/savevm.c sends one for each, but see above). */
function unfinished({ sections }: Walk): Section[] {
  const ended = new Set(sections.filter(({ type }) => type === "end").map(({ id }) => id));
  return sections.filter(({ type, id }) => type === "start" && !ended.has(id));
}

/** Devices of the description that have no section. */
function missing({ sections, vmdesc }: Walk): string[] {
  const names = new Set(sections.map((section) => sectionLabel(section)));
  const devices = vmdesc?.devices ?? [];
  return devices
    .map(({ name, instanceId }) => sectionLabel({ name, instance: instanceId }))
    .filter((name) => !names.has(name));
}
