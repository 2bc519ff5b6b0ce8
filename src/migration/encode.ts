// Writes a stream again from what was decoded: headers, configuration, commands and devices are encoded again, guest RAM
// and what was not decoded are copied from the source.

import { saveBody } from "../vmstate/engine.ts";
import { CprkitError, isCprkitError } from "../vmstate/error.ts";
import { textBytes } from "../vmstate/wire/text.ts";
import { Writer } from "../vmstate/wire/writer.ts";
import { encodeDevice } from "./device/decode.ts";
import type { Configuration, DeviceState, Migration, Section } from "./model.ts";
import { sectionLabel } from "./paths.ts";
import { item, magic } from "./stream/constants.ts";
import { type ConfigurationState, configurationVmstate } from "./stream/known.ts";
import { type ByteSource, bytesSource } from "./stream/source.ts";

const chunkSize = 1 << 20;

/**
 * The stream's bytes in chunks, each valid until the next is asked for. `source` is what `migration` was read from; RAM
 * is copied from there. Values that were changed in a section's `device.state` are written.
 *
 * Byte offsets stay those of the source as long as no section changes its length, which mapped-ram relies on; write
 * it at the same offset of a file as the source had (`migration.offset`).
 *
 * Throws ERR_VALUE for a stream that was not read to its end, or a state that does not fit its description; ERR_EOF
 * if the source has become shorter.
 */
export async function* encodeMigration(
  migration: Migration,
  source: Uint8Array | ByteSource,
): AsyncGenerator<Uint8Array, void, void> {
  if (!migration.complete) {
    throw new CprkitError("ERR_VALUE", "the stream was not read to its end, so it cannot be written");
  }
  const input = source instanceof Uint8Array ? bytesSource(source) : source;
  const head = new Writer();
  head.uint32(magic);
  head.uint32(migration.version);
  if (migration.configuration !== undefined) saveConfiguration(head, migration.configuration);
  yield head.finish().bytes;
  for (const piece of pieces(migration)) {
    if (piece instanceof Uint8Array) yield piece;
    else yield* pass(input, piece.offset, piece.size);
  }
}

interface Range {
  readonly offset: number;
  readonly size: number;
}

function* pieces(migration: Migration): Generator<Uint8Array | Range> {
  const sections = migration.sections.filter((section) => !section.packaged);
  const commands = migration.commands.filter((command) => !command.packaged);
  const items = [...sections, ...commands].sort((a, b) => a.offset - b.offset);
  for (const one of items) {
    if (!("bodyOffset" in one)) yield { offset: one.offset, size: 5 + one.size };
    else if (one.count > 1) yield { offset: one.offset, size: one.size };
    else yield* sectionPieces(one);
  }
  const tail = new Writer();
  tail.uint8(item.end);
  if (migration.vmdescription !== undefined) {
    const json = textBytes(migration.vmdescription.text);
    tail.uint8(item.description);
    tail.uint32(json.length);
    tail.buffer(json);
  }
  yield tail.finish().bytes;
}

const typeBytes = { start: item.start, part: item.part, end: item.final, full: item.full } as const;

function* sectionPieces(section: Section): Generator<Uint8Array | Range> {
  const header = new Writer();
  header.uint8(typeBytes[section.type]);
  header.uint32(section.id);
  if (section.type === "start" || section.type === "full") {
    header.countedText(section.name);
    header.uint32(section.instance);
    header.uint32(section.version);
  }
  yield header.finish().bytes;
  yield section.device?.state === undefined
    ? { offset: section.bodyOffset, size: section.bodySize }
    : encodeBody(section, section.device);
  if (section.footer) {
    const footer = new Writer();
    footer.uint8(item.footer);
    footer.uint32(section.id);
    yield footer.finish().bytes;
  }
}

function encodeBody(section: Section, device: DeviceState): Uint8Array {
  try {
    return encodeDevice(device);
  } catch (error) {
    throw isCprkitError(error) ? error.within(sectionLabel(section)) : error;
  }
}

function saveConfiguration(writer: Writer, configuration: Configuration): void {
  const name = textBytes(configuration.machine);
  const { targetPageBits, capabilities, uuid } = configuration;
  const state: ConfigurationState = { len: name.length, name };
  if (targetPageBits !== undefined) state.targetPageBits = { bits: targetPageBits };
  if (capabilities.length > 0) {
    state.capabilities = { count: capabilities.length, capabilities: [...capabilities] };
  }
  if (uuid !== undefined) {
    const digits = uuid.replaceAll("-", "");
    state.uuid = { uuid: Array.from({ length: 16 }, (_, i) => Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16)) };
  }
  writer.uint8(item.configuration);
  saveBody(writer, configurationVmstate, state);
}

async function* pass(source: ByteSource, offset: number, size: number): AsyncGenerator<Uint8Array, void, void> {
  const buffer = new Uint8Array(Math.min(size, chunkSize));
  for (let at = 0; at < size; ) {
    const got = await source.read(offset + at, buffer.subarray(0, Math.min(buffer.length, size - at)));
    if (got === 0) throw new CprkitError("ERR_EOF", "the source has become shorter", { offset: offset + at });
    yield buffer.subarray(0, got);
    at += got;
  }
}
