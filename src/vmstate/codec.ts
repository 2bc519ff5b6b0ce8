// Load and save: the two calls that a description is for.

import type { Description } from "./description.ts";
import { loadBody, located, saveBody } from "./engine.ts";
import type { AnyDescription } from "./types.ts";
import { type FdForm, type Input, type Observer, Reader } from "./wire/reader.ts";
import { type Output, Writer } from "./wire/writer.ts";

/** Options of {@link load}. */
export interface LoadOptions<State> {
  /** The body's version, which is outside it (a section's header). Default: the description's own. */
  readonly version?: number | undefined;
  /** Loads into this object, which keeps what the stream does not hold. Default: a new one. */
  readonly into?: Partial<State> | undefined;
  /** Called for every field, with its place. */
  readonly observer?: Observer | undefined;
}

/** Options of {@link save}. */
export interface SaveOptions {
  /** Default "passed". */
  readonly fdForm?: FdForm | undefined;
}

/**
 * Loads the one body that `input` holds, from its first byte to its last.
 *
 * Buffers in the state are views of `input.bytes`. No fd is closed here, whatever happens: on an error they are still
 * the caller's. Throws CprkitError with the byte offset and the field's path: ERR_EOF, ERR_VERSION_TOO_NEW,
 * ERR_VERSION_TOO_OLD, ERR_BAD_BYTE, ERR_RANGE, ERR_COUNT, ERR_LIMIT, ERR_UNKNOWN_SUBSECTION, ERR_TRAILING_BYTES,
 * ERR_FD_MISSING, ERR_FD_SURPLUS, ERR_HOOK and what the fields say. (QEMU 10.0 migration/vmstate.c)
 */
export function load<State>(description: Description<State>, input: Input, options: LoadOptions<State> = {}): State {
  return loadAll(new Reader(input), description, options);
}

/**
 * As {@link load}, by a reader of one's own.
 * @internal
 */
export function loadAll<State>(reader: Reader, description: Description<State>, options: LoadOptions<State>): State {
  reader.observer = options.observer;
  const state = loadFrom(reader, description, options);
  if (reader.remaining > 0) {
    throw reader.error("ERR_TRAILING_BYTES", `"${description.name}" ends here, but ${reader.remaining} bytes follow`);
  }
  reader.checkFdsTaken();
  return state;
}

/** As {@link load}, from the place of `reader`; what follows the body is left to the caller. */
export function loadFrom<State>(
  reader: Reader,
  description: Description<State>,
  options: LoadOptions<State> = {},
): State {
  const { depth } = reader;
  try {
    return loadBody(reader, description, options.version ?? description.version, options.into);
  } catch (error) {
    // A reader of a whole stream may go on after a section that is damaged.
    reader.depth = depth;
    throw located(error, description.name);
  }
}

/**
 * Saves `state`. Throws CprkitError with the field's path: ERR_VALUE if a value is missing or does not fit.
 * The fds are not touched; `fds` says which belongs to which byte.
 */
export function save<State>(description: Description<State>, state: State, options: SaveOptions = {}): Output {
  const writer = new Writer(options.fdForm);
  saveTo(writer, description, state);
  return writer.finish();
}

/** As {@link save}, to the place of `writer`. */
export function saveTo<State>(writer: Writer, description: Description<State>, state: State): void {
  try {
    saveBody(writer, description, state);
  } catch (error) {
    throw located(error, description.name);
  }
}

/** True if a body of `version` can be loaded by `description`. */
export function accepts(description: AnyDescription, version: number): boolean {
  return version <= description.version && version >= description.minimumVersion;
}
