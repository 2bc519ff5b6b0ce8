// Loads and saves the body of a description: version check, hooks, fields, subsections (QEMU 10.0
// migration/vmstate.c). Field kinds that hold a description call back into here.

import type { BodyPlan, CompiledBody, CompiledEntry, Compiler, EntryPart, PlannedField } from "./compiled.ts";
import type { Description } from "./description.ts";
import { CprkitError, isCprkitError } from "./error.ts";
import type { AnyDescription, AnyField, Field } from "./types.ts";
import { maxDepth, type Reader } from "./wire/reader.ts";
import type { Writer } from "./wire/writer.ts";

type Target = Record<string, unknown>;

/** First byte of a subsection (QEMU_VM_SUBSECTION). */
const subsectionMark = 0x05;

/** Throws unless a body of `version` can be loaded: ERR_VERSION_TOO_NEW or ERR_VERSION_TOO_OLD. */
function checkVersion(reader: Reader, description: AnyDescription, version: number): void {
  const { name } = description;
  if (version > description.version) {
    throw reader.error(
      "ERR_VERSION_TOO_NEW",
      `"${name}" has version ${version} in the stream, newer than the ${description.version} known here`,
    );
  }
  if (version < description.minimumVersion) {
    throw reader.error(
      "ERR_VERSION_TOO_OLD",
      `"${name}" has version ${version} in the stream, older than ${description.minimumVersion}, the oldest that can be loaded`,
    );
  }
}

/**
 * Throws ERR_DESCRIPTION unless elements can be loaded as they are saved: saving writes them at their description's own
 * version, loading reads them at the field's (QEMU 10.0 migration/vmstate-types.c).
 */
export function checkElement(description: AnyDescription, version: number): void {
  const { name, version: own, minimumVersion, fields } = description;
  const isLoadable = version <= own && version >= minimumVersion;
  const missing = fields.find(({ field }) => field.exists === undefined && (field.version ?? 0) > version);
  if (isLoadable && missing === undefined) return;
  const why =
    missing === undefined
      ? `accepts ${minimumVersion === own ? own : `${minimumVersion} to ${own}`}`
      : `is saved at ${own}, with "${missing.name}", which ${version} does not have`;
  throw new CprkitError(
    "ERR_DESCRIPTION",
    `elements "${name}" would be loaded at version ${version}, but the description ${why}; give the field { version: ${own} }`,
  );
}

/**
 * Loads one body. `target` keeps what the stream does not hold; without it, a new object is made. Errors name the
 * field they happened in, below the description's own name, which the caller adds.
 */
export function loadBody<State>(
  reader: Reader,
  description: Description<State>,
  version: number,
  target?: Partial<State>,
): State {
  checkVersion(reader, description, version);
  return loadPlanned(reader, description, version, planOf(description, version), target);
}

function loadPlanned<State>(
  reader: Reader,
  description: Description<State>,
  version: number,
  plan: Plan,
  target: Partial<State> | undefined,
): State {
  const mayUse = reader.compiled && target === undefined && reader.observer === undefined;
  const compiled = mayUse ? compiledOf(plan) : nothingCompiled;
  const whole = compiled.load?.(reader, undefined);
  if (whole !== undefined) return whole as State;
  const state: Target = (target as Target | undefined) ?? { ...plan.blank };
  if (++reader.depth > maxDepth) throw reader.error("ERR_DEPTH", `structures nest deeper than ${maxDepth}`);
  runHook(reader, "pre_load", description.hooks.preLoad, state, version);
  const { fields } = plan;
  if (compiled.loadFields !== undefined) compiled.loadFields(reader, state, version);
  else loadFields(reader, fields, 0, fields.length, state, version);
  loadSubsections(reader, description, state);
  reader.depth -= 1;
  runHook(reader, "post_load", description.hooks.postLoad, state, version);
  // The description says that these fields make a State.
  return state as State;
}

/** Loads the fields from number `from` to before number `to`. */
export function loadFields(
  reader: Reader,
  fields: readonly PlannedField[],
  from: number,
  to: number,
  state: Target,
  version: number,
): void {
  let at = from;
  try {
    if (reader.observer === undefined) {
      for (; at < to; at++) {
        const { name, field, sure } = fields[at] as PlannedField;
        if (sure || fieldExists(reader, field, state, version))
          state[name] = (field as Field<unknown>).load(reader, state[name], state);
      }
    } else {
      for (; at < to; at++) loadObserved(reader, fields[at] as PlannedField, state, version);
    }
  } catch (error) {
    throw located(error, (fields[at] as PlannedField).name);
  }
}

/** Loads elements of one description and version, which was checked already: what is the same for all is done once. */
export interface ElementLoader<State> {
  readonly description: Description<State>;
  /** With a target it must be {@link reusable}, and nobody may observe. */
  load(reader: Reader, target?: Partial<State>): State;
  /** An object that every element may be loaded into, one after the other; undefined if that cannot be done. */
  readonly reusable: Partial<State> | undefined;
}

export function elementLoader<State>(description: Description<State>, version: number): ElementLoader<State> {
  const plan = planOf(description, version);
  // Otherwise an element could keep its predecessor's value.
  if (!plan.plain)
    return {
      description,
      load: (reader) => loadPlanned(reader, description, version, plan, undefined),
      reusable: undefined,
    };
  return {
    description,
    load: (reader, target) => {
      if (reader.observer !== undefined) return loadPlanned(reader, description, version, plan, undefined);
      if (reader.compiled) {
        const compiled = compiledOf(plan);
        const state = compiled.load?.(reader, target as Target | undefined);
        if (state !== undefined) return state as State;
        if (compiled.loadFields !== undefined && target === undefined)
          return loadPlanned(reader, description, version, plan, undefined);
      }
      return loadPlain(reader, description, plan, target);
    },
    reusable: { ...plan.blank } as Partial<State>,
  };
}

/** As {@link loadBody} into a new object: what is the same for all bodies is done once. */
export function bodyLoader<State>(description: Description<State>, version: number): (reader: Reader) => State {
  if (version > description.version || version < description.minimumVersion)
    return (reader) => loadBody(reader, description, version);
  const { load } = elementLoader(description, version);
  return (reader) => load(reader);
}

/**
 * As loadPlanned, for what most elements of a list are: fields that are always there, and nothing else.
 *
 * The first four fields one by one, here and in savePlain: V8 learns for each place in the code which name and which
 * kind of field comes by, and a loop is one place for all. It saves a third (docs/decisions/0003-codec-speed.md). A
 * lone field, such as a table's value beside its key, has a place too.
 */
function loadPlain<State>(
  reader: Reader,
  description: Description<State>,
  { names, kinds, blank }: Plan,
  target: Partial<State> | undefined,
): State {
  const state: Target = (target as Target | undefined) ?? { ...blank };
  if (++reader.depth > maxDepth) throw reader.error("ERR_DEPTH", `structures nest deeper than ${maxDepth}`);
  const count = kinds.length;
  let at = 0;
  try {
    if (count === 1) {
      state[names[0] as string] = (kinds[0] as Field<unknown>).load(reader, undefined, state);
    } else if (count > 0) {
      state[names[0] as string] = (kinds[0] as Field<unknown>).load(reader, undefined, state);
    }
    if (count > 1) {
      at = 1;
      state[names[1] as string] = (kinds[1] as Field<unknown>).load(reader, undefined, state);
    }
    if (count > 2) {
      at = 2;
      state[names[2] as string] = (kinds[2] as Field<unknown>).load(reader, undefined, state);
    }
    if (count > 3) {
      at = 3;
      state[names[3] as string] = (kinds[3] as Field<unknown>).load(reader, undefined, state);
    }
    for (at = 4; at < count; at++) {
      state[names[at] as string] = (kinds[at] as Field<unknown>).load(reader, undefined, state);
    }
  } catch (error) {
    throw located(error, names[at] as string);
  }
  if (reader.peek() === subsectionMark) loadSubsections(reader, description, state);
  reader.depth -= 1;
  return state as State;
}

/** As {@link saveBody} for elements of one description: what is the same for all is done once. */
export function elementSaver<State>(
  description: Description<State>,
  version = description.version,
): (writer: Writer, state: State) => void {
  const plan = planOf(description, version);
  if (!plan.plain) return (writer, state) => saveBody(writer, description, state, version);
  return (writer, state) => {
    if (writer.observer === undefined) {
      const { save, saveFields } = writer.compiled ? compiledOf(plan) : nothingCompiled;
      if (save?.(writer, state as Target) === true) return;
      if (saveFields === undefined) return savePlain(writer, plan, state as Target);
    }
    saveBody(writer, description, state, version);
  };
}

function savePlain(writer: Writer, { names, kinds }: Plan, source: Target): void {
  const count = kinds.length;
  let at = 0;
  try {
    if (count === 1) {
      const value = source[names[0] as string];
      if (value === undefined && !(kinds[0] as Field<unknown>).optional) throw noValue();
      (kinds[0] as Field<unknown>).save(writer, value, source);
    } else if (count > 0) {
      const value = source[names[0] as string];
      if (value === undefined && !(kinds[0] as Field<unknown>).optional) throw noValue();
      (kinds[0] as Field<unknown>).save(writer, value, source);
    }
    if (count > 1) {
      at = 1;
      const value = source[names[1] as string];
      if (value === undefined && !(kinds[1] as Field<unknown>).optional) throw noValue();
      (kinds[1] as Field<unknown>).save(writer, value, source);
    }
    if (count > 2) {
      at = 2;
      const value = source[names[2] as string];
      if (value === undefined && !(kinds[2] as Field<unknown>).optional) throw noValue();
      (kinds[2] as Field<unknown>).save(writer, value, source);
    }
    if (count > 3) {
      at = 3;
      const value = source[names[3] as string];
      if (value === undefined && !(kinds[3] as Field<unknown>).optional) throw noValue();
      (kinds[3] as Field<unknown>).save(writer, value, source);
    }
    for (at = 4; at < count; at++) {
      const field = kinds[at] as Field<unknown>;
      const value = source[names[at] as string];
      if (value === undefined && !field.optional) throw noValue();
      field.save(writer, value, source);
    }
  } catch (error) {
    throw located(error, names[at] as string);
  }
}

function noValue(): CprkitError {
  return new CprkitError("ERR_VALUE", "the state has no value for this field");
}

/** Saves one body, at the description's own version unless another is given (VSTRUCT). */
export function saveBody<State>(
  writer: Writer,
  description: Description<State>,
  state: State,
  version = description.version,
): void {
  const plan = planOf(description, version);
  const compiled = writer.compiled && writer.observer === undefined ? compiledOf(plan) : nothingCompiled;
  if (compiled.save?.(writer, state as Target) === true) return;
  const { hooks } = description;
  runSaveHook("pre_save", hooks.preSave, state);
  const source = state as Target;
  let failed = true;
  try {
    const { observer } = writer;
    observer?.enterBody(description, version);
    if (compiled.saveFields !== undefined) compiled.saveFields(writer, source, version);
    else saveFields(writer, plan.fields, 0, plan.fields.length, source, version);
    for (const { key, description: subsection, needed } of description.subsections) {
      if (!(needed === undefined ? source[key] !== undefined : needed(state as never))) continue;
      writer.uint8(subsectionMark);
      writer.countedText(subsection.name);
      writer.uint32(subsection.version);
      try {
        saveBody(writer, subsection as Description<unknown>, source[key] ?? {});
      } catch (error) {
        throw located(error, subsection.name);
      }
    }
    observer?.leaveBody();
    failed = false;
  } finally {
    // A field's error is the one to tell: post_save's own would hide it.
    if (!failed) runSaveHook("post_save", hooks.postSave, state);
    else ignoreErrors(hooks.postSave, state);
  }
}

/** Saves the fields from number `from` to before number `to`. */
export function saveFields(
  writer: Writer,
  fields: readonly PlannedField[],
  from: number,
  to: number,
  source: Target,
  version: number,
): void {
  const { observer } = writer;
  let at = from;
  try {
    for (; at < to; at++) {
      const { name, field, sure } = fields[at] as PlannedField;
      if (!sure && !fieldExists(undefined, field, source, version)) continue;
      const value = source[name];
      if (value === undefined && !field.optional) throw noValue();
      if (observer !== undefined) observer.enterField(name, field, writer.pos);
      (field as Field<unknown>).save(writer, value, source);
      if (observer !== undefined) observer.leaveField(writer.pos);
    }
  } catch (error) {
    throw located(error, (fields[at] as PlannedField).name);
  }
}

/** The error, one step further out: `part` goes in front of its path. */
export function located(error: unknown, part: string | number): unknown {
  return isCprkitError(error) && "within" in error ? error.within(part) : error;
}

interface Plan extends BodyPlan {
  /** All keys of a state, unset: copying it gives every state of this description one hidden class. */
  readonly blank: Target;
  /** Names and kinds of the fields. */
  readonly names: readonly string[];
  readonly kinds: readonly Field<unknown>[];
  /** Made at the first use. */
  compiled: CompiledBody | undefined;
}

let compiler: Compiler | undefined;
const nothingCompiled: CompiledBody = {};

/** From now on readers and writers that are `compiled` use code that `made` makes. */
export function useCompiler(made: Compiler): void {
  compiler = made;
}

function compiledOf(plan: Plan): CompiledBody {
  if (compiler === undefined) return nothingCompiled;
  plan.compiled ??= compiler.body(plan);
  return plan.compiled;
}

const nothingOfEntries: CompiledEntry = {};

/** Code for entries made of `parts`, as far as a reader or writer may use it: made when it is first asked for. */
export function entryCompiler(
  parts: readonly EntryPart[],
): (wire: { readonly compiled: boolean; readonly observer: unknown }) => CompiledEntry {
  let made: CompiledEntry | undefined;
  return (wire) => {
    if (!wire.compiled || wire.observer !== undefined || compiler === undefined) return nothingOfEntries;
    made ??= compiler.entry(parts);
    return made;
  };
}

// One plan for each description and version, made on first use.
const plans = new WeakMap<AnyDescription, Map<number, Plan>>();

export function planOf(description: AnyDescription, version: number): Plan {
  let versions = plans.get(description);
  if (versions === undefined) {
    versions = new Map();
    plans.set(description, versions);
  }
  let plan = versions.get(version);
  if (plan === undefined) {
    plan = makePlan(description, version);
    versions.set(version, plan);
  }
  return plan;
}

function makePlan(description: AnyDescription, version: number): Plan {
  const fields: PlannedField[] = [];
  const blank: Target = {};
  for (const { name, field } of description.fields) {
    const sure = field.exists === undefined && (field.version ?? 0) <= version;
    if (!sure && field.exists === undefined && field.mustExist !== true) continue;
    fields.push({ name, field, sure });
    if (sure) blank[name] = undefined;
  }
  const { hooks, subsections } = description;
  return {
    description,
    version,
    fields,
    blank,
    plain:
      subsections.length === 0 &&
      Object.values(hooks).every((hook) => hook === undefined) &&
      fields.every(({ sure }) => sure),
    names: fields.map(({ name }) => name),
    // Of these fields and their values nobody but the description knows the types.
    kinds: fields.map(({ field }) => field as Field<unknown>),
    compiled: undefined,
  };
}

function fieldExists(reader: Reader | undefined, field: AnyField, state: Target, version: number): boolean {
  const exists = field.exists === undefined ? (field.version ?? 0) <= version : field.exists(state, version);
  if (!exists && field.mustExist === true) {
    const reason = "this field must exist in the stream (input validation failed)";
    throw reader === undefined ? new CprkitError("ERR_MUST_EXIST", reason) : reader.error("ERR_MUST_EXIST", reason);
  }
  return exists;
}

/** The kinds whose value is one body of their description. */
const bodyTypes: ReadonlySet<string> = new Set(["struct", "vstruct", "tmp"]);

function loadObserved(reader: Reader, planned: PlannedField, state: Target, version: number): void {
  const { name, field, sure } = planned;
  if (!sure && !fieldExists(reader, field, state, version)) return;
  // A run of elements is not one body, nor is a list.
  const within = bodyTypes.has(field.type) && field.sequence === undefined ? field.descriptions?.[0]?.name : undefined;
  reader.observer?.enter(name, field.type, reader.offset, within);
  state[name] = (field as Field<unknown>).load(reader, state[name], state);
  reader.observer?.leave(reader.offset, state[name]);
}

/**
 * Subsections follow the fields without a terminator: one is here if the next bytes are 05 and a counted name that
 * begins with the parent's and goes on. Otherwise nothing is consumed: the bytes belong to somebody else.
 */
function loadSubsections(reader: Reader, description: AnyDescription, state: Target): void {
  while (reader.peek() === subsectionMark && nameFollows(reader, reader.pos, description.name)) {
    const start = reader.offset;
    const length = reader.peek(1);
    const name = latin1(reader, length);
    const found = description.subsections.find((subsection) => subsection.description.name === name);
    if (found === undefined) {
      throw reader.error(
        "ERR_UNKNOWN_SUBSECTION",
        `the stream holds a subsection "${name}", which "${description.name}" does not have here (QEMU: error -2)`,
      );
    }
    reader.pos += 2 + length;
    reader.observer?.enter(name, "subsection", start, name);
    try {
      const version = reader.uint32();
      // QEMU keeps only the low 8 bits of it.
      if (version > 255)
        throw reader.error("ERR_RANGE", `expected a subsection's version up to 255, found ${version}`, 4);
      state[found.key] = loadBody(
        reader,
        found.description as Description<unknown>,
        version,
        state[found.key] as undefined,
      );
    } catch (error) {
      throw located(error, name);
    }
    reader.observer?.leave(reader.offset, state[found.key]);
  }
}

/** Whether the name after the mark at `at` is that of a subsection of `parent`. */
export function nameFollows({ bytes, end }: Reader, at: number, parent: string): boolean {
  const length = at + 1 < end ? (bytes[at + 1] as number) : -1;
  if (length <= parent.length || end - at < 2 + length) return false;
  for (let i = 0; i < parent.length; i++) {
    if (bytes[at + 2 + i] !== parent.charCodeAt(i)) return false;
  }
  return true;
}

// A description's names are ASCII; a name with other bytes is unknown all the same.
function latin1(reader: Reader, length: number): string {
  let name = "";
  for (let i = 0; i < length; i++) name += String.fromCharCode(reader.peek(2 + i));
  return name;
}

function runHook(
  reader: Reader,
  name: string,
  hook: ((state: never, version: number) => void) | undefined,
  state: Target,
  version: number,
): void {
  if (hook === undefined) return;
  try {
    hook(state as never, version);
  } catch (error) {
    if (isCprkitError(error)) throw error;
    throw new CprkitError("ERR_HOOK", `${name} failed: ${error instanceof Error ? error.message : String(error)}`, {
      offset: reader.offset,
      cause: error,
    });
  }
}

function runSaveHook(name: string, hook: ((state: never) => void) | undefined, state: unknown): void {
  if (hook === undefined) return;
  try {
    hook(state as never);
  } catch (error) {
    if (isCprkitError(error)) throw error;
    throw new CprkitError("ERR_HOOK", `${name} failed: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function ignoreErrors(hook: ((state: never) => void) | undefined, state: unknown): void {
  try {
    hook?.(state as never);
  } catch {}
}
