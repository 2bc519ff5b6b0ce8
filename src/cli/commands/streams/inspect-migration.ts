// cprkit inspect, for a migration stream.

import { inputName } from "../../../files/read.ts";
import { bytesAtOnce } from "../../../files/unwrap/stage.ts";
import { type Migration, migrationToJson, type ReadMigrationOptions } from "../../../migration/index.ts";
import { isByteSource } from "../../../migration/stream/source.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import { printable } from "../../../vmstate/shown/text.ts";
import { sizeText } from "../../../vmstate/shown/values.ts";
import { type ExitCode, exitCodeOf, exitCodes } from "../../exit-codes.ts";
import { extractBlock } from "../../extract.ts";
import { type Input, kindOf, openInput } from "../../input/open.ts";
import { maxJsonBytes, readWithProgress } from "../../input/read.ts";
import { nothingSelected, type Selection, select } from "../../input/select.ts";
import { print, printError, printErrorJson, printJson } from "../../output.ts";
import type { BytesAt } from "../../view/hex.ts";
import { hexView } from "../../view/hex-migration.ts";
import { overview, tree } from "../../view/migration.ts";
import { wrappingJson } from "../../view/wrapping.ts";

export interface MigrationInspectOptions extends Selection {
  readonly json?: boolean | undefined;
  readonly hex?: boolean | undefined;
  readonly description?: boolean | undefined;
  readonly pageSize?: number | undefined;
  readonly vmdesc?: string | undefined;
  readonly ramBlock?: string | undefined;
  readonly output?: string | undefined;
}

/** Prints what the stream holds, also what was read before an error. Returns the exit code. */
export async function inspectMigration(input: Input, options: MigrationInspectOptions): Promise<ExitCode> {
  const read = await readOptions(options);
  if (options.ramBlock !== undefined) return await extract(input, read, options.ramBlock, options);
  const bytesAt = options.hex === true ? placesOf(input) : undefined;
  const whole = await readWithProgress(input, read, options.json === true);
  if (options.description === true) return showDescription(whole, options.json === true);
  const migration = select(whole, options);
  if (options.json === true) printJson({ ...migrationToJson(migration), wrapping: wrappingJson(input.wrapping) });
  else if (bytesAt !== undefined) for (const line of hexView(migration, bytesAt)) print(line);
  else if (options.section !== undefined || options.field !== undefined) print(tree(migration));
  else print(overview(migration, input.wrapping));
  const code = verdict(whole, options.json === true);
  return code > exitCodes.finding ? code : refuseNothing([whole], options, code);
}

/** Says that nothing was selected, which is a finding; else `code`. */
export function refuseNothing(
  wholes: readonly Migration[],
  { json, ...selection }: Selection & { readonly json?: boolean | undefined },
  code: ExitCode,
): ExitCode {
  const nothing = nothingSelected(wholes, selection);
  if (nothing === undefined) return code;
  if (json === true) printErrorJson(nothing);
  else printError(nothing.message);
  return exitCodes.finding;
}

/** Throws ERR_USAGE for a pipe. */
function placesOf({ source }: Input): BytesAt {
  if (isByteSource(source)) return bytesAtOnce(source);
  throw new CprkitError("ERR_USAGE", "--hex needs a file: a pipe, and what is compressed, gives its bytes only once");
}

/** The stream's own JSON, as QEMU wrote it. */
function showDescription(migration: Migration, json: boolean): ExitCode {
  const { vmdescription } = migration;
  if (vmdescription === undefined) {
    throw migration.stopped ?? new CprkitError("ERR_USAGE", "the stream has no JSON description");
  }
  print(`${vmdescription.text}\n`);
  return verdict(migration, json);
}

/**
 * Reports on standard error why a stream was not read to its end, and returns the exit code for it. `path`:
 * the file, where there is more than one.
 */
export function verdict({ stopped, problems }: Migration, json: boolean, path?: string): ExitCode {
  if (stopped === undefined) return problems.length === 0 ? exitCodes.fine : exitCodes.finding;
  if (path !== undefined) stopped.within(inputName(path));
  if (json) printErrorJson(stopped);
  else printError(stopped.message);
  return exitCodeOf(stopped.code);
}

/** How the user wants the stream to be read. Throws ERR_FILE for a description that cannot be read. */
async function readOptions({ pageSize, vmdesc }: MigrationInspectOptions): Promise<ReadMigrationOptions> {
  return { pageSize, vmdesc: vmdesc === undefined ? undefined : await descriptionIn(vmdesc) };
}

/** JSON, or that of a stream. */
async function descriptionIn(path: string): Promise<string> {
  const input = await openInput(path, {});
  try {
    if (kindOf(input) !== "migration") return Buffer.from(await input.all(maxJsonBytes)).toString("utf8");
    const { vmdescription, stopped } = await readWithProgress(input, {}, true);
    if (vmdescription !== undefined) return vmdescription.text;
    throw (stopped ?? new CprkitError("ERR_USAGE", "this stream has no JSON description")).within(inputName(path));
  } finally {
    input.close();
  }
}

async function extract(
  input: Input,
  read: ReadMigrationOptions,
  name: string,
  options: MigrationInspectOptions,
): Promise<ExitCode> {
  const { output, json = false } = options;
  if (output === undefined) throw new CprkitError("ERR_USAGE", "--ram-block needs -o FILE, where the RAM is written");
  const extraction = extractBlock(name, output, input.path);
  try {
    const migration = await readWithProgress(input, { ...read, onPage: extraction.onPage }, json);
    const block = migration.ram?.blocks.find((one) => one.name === name);
    if (block === undefined) {
      const known = migration.ram?.blocks.map((one) => `"${one.name}"`).join(", ") ?? "";
      const reason = known === "" ? "it has no RAM blocks" : `its blocks are ${known}`;
      throw migration.stopped ?? new CprkitError("ERR_USAGE", `the stream has no RAM block "${name}": ${reason}`);
    }
    extraction.finish(block.usedLength);
    const { usedLength, pages, zeroPages, xbzrlePages } = block;
    if (json) printJson({ block: name, output, usedLength, pages, zeroPages, xbzrlePages });
    else {
      const content =
        pages + zeroPages + xbzrlePages === 0 ? "; the stream has no page of it, so the file is all zeros" : "";
      print(`${printable(output)}: ${sizeText(usedLength)} of RAM block "${printable(name)}"${content}\n`);
    }
    return verdict(migration, json);
  } finally {
    extraction.close();
  }
}
