// What code made of a description offers to the engine (compile/ makes it). The engine does not know how it is made: where
// no code may be generated, there is none.

import type { AnyDescription, NamedField } from "./types.ts";
import type { Reader } from "./wire/reader.ts";
import type { Writer } from "./wire/writer.ts";

type Target = Record<string, unknown>;

/**
 * Code for the bodies of one description at one version. It never fails: where something is not as it should be, it gives
 * up, nothing is changed, and the engine does the work and finds the error.
 */
export interface CompiledBody {
  /** Loads a body into `target`, or into a new object. Undefined: it gave up. */
  readonly load?: ((reader: Reader, target: Target | undefined) => Target | undefined) | undefined;
  /** Loads the fields into an object that was just made. What it gives up it leaves to the engine itself. */
  readonly loadFields?: ((reader: Reader, state: Target, version: number) => void) | undefined;
  /** Saves a body. False: it gave up. */
  readonly save?: ((writer: Writer, state: Target) => boolean) | undefined;
  /** Saves the fields. What it gives up it leaves to the engine itself. */
  readonly saveFields?: ((writer: Writer, state: Target, version: number) => void) | undefined;
}

export interface PlannedField extends NamedField {
  /** It exists at this version without asking. */
  readonly sure: boolean;
}

/** A description at a version, as the engine sees it. */
export interface BodyPlan {
  readonly description: AnyDescription;
  readonly version: number;
  readonly fields: readonly PlannedField[];
  /** A body is its fields, which are all sure, and nothing else. */
  readonly plain: boolean;
}

/** Code for an entry of a list or table: the byte 01, and one body or two. It gives up as {@link CompiledBody} does. */
export interface CompiledEntry {
  /** Loads into objects that are filled anew for each entry. False: it gave up, or here is no more entry. */
  readonly load?: ((reader: Reader, first: Target, second: Target) => boolean) | undefined;
  readonly save?: ((writer: Writer, first: Target, second: Target) => boolean) | undefined;
}

/** A body of an entry: saved at its description's own version, loaded at this one. */
export interface EntryPart {
  readonly description: AnyDescription;
  readonly version: number;
}

export interface Compiler {
  readonly body: (plan: BodyPlan) => CompiledBody;
  readonly entry: (parts: readonly EntryPart[]) => CompiledEntry;
}
