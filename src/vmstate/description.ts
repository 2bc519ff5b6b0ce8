// Describes a structure once: its TypeScript type, how it is loaded, how it is saved and what tools show of it all
// come from this one value (QEMU's VMStateDescription).

import { CprkitError } from "./error.ts";
import type { AnyDescription, AnyField, GatedField, Hooks, ValueOf } from "./types.ts";
import { maxDepth } from "./wire/reader.ts";

/** Fields by name, in the order of the wire. */
export type Fields = Readonly<Record<string, AnyField>>;

/** Subsections by the key under which the state holds them, in the order of the wire. */
export type Subsections = Readonly<Record<string, AnyDescription>>;

declare const stateType: unique symbol;

/** A frozen description of `State`. Made by {@link vmstate}. */
export interface Description<in out State> extends AnyDescription {
  /** Never set: it carries the type. */
  readonly [stateType]?: (state: State) => State;
}

/** The type of the state that a description describes. */
export type StateOf<D> = D extends Description<infer State> ? State : never;

/** The names of the fields that some streams lack. */
export type GatedKeys<F extends Fields> = { [K in keyof F]: F[K] extends GatedField<unknown> ? K : never }[keyof F];

/** One object type, written out: messages and hints show its members, not how it was put together. */
export type Flat<T> = T extends infer Whole ? { [K in keyof Whole]: Whole[K] } : never;

/** The state that fields and subsections describe together. A subsection's key is set when the subsection is there. */
export type StateOfParts<F extends Fields, S extends Subsections> = Flat<
  { [K in Exclude<keyof F, GatedKeys<F>>]: ValueOf<F[K]> } & {
    [K in GatedKeys<F>]?: ValueOf<F[K]> | undefined;
  } & { -readonly [K in keyof S]?: StateOf<S[K]> | undefined }
>;

/** JavaScript puts integer-like keys first, whatever the source says: they cannot be field names here. */
export type Orderly<F> = {
  [K in keyof F]: K extends number | `${number}`
    ? { "field name error": "integer-like names would be reordered" }
    : F[K];
};

/** What {@link vmstate} takes. `Live` is what the state holds beside its fields. */
export interface Definition<F extends Fields, S extends Subsections, Live = unknown>
  extends Hooks<StateOfParts<F, S> & Live> {
  readonly name: string;
  /** An integer from 0 on. */
  readonly version: number;
  /** Default 0, as in QEMU. */
  readonly minimumVersion?: number;
  readonly fields: F & Orderly<F>;
  readonly subsections?: S;
  /** For subsections that are not sent simply whenever their key is set. */
  readonly needed?: { readonly [K in keyof S]?: (state: StateOfParts<F, S> & Live) => boolean };
}

/**
 * Makes a description.
 *
 *     const timer = vmstate({
 *       name: "timer", version: 2, minimumVersion: 1,
 *       fields: { irq: uint8(), load: uint64(), prescale: since(2, uint32()) },
 *     });
 *     type Timer = StateOf<typeof timer>; // { irq: number; load: bigint; prescale?: number | undefined }
 *
 * Throws ERR_DESCRIPTION for a description that cannot work.
 */
export function vmstate<const F extends Fields, const S extends Subsections = Record<never, never>>(
  definition: Definition<F, S>,
): Description<StateOfParts<F, S>> {
  return build(definition);
}

/**
 * As {@link vmstate}, for a state that is kept otherwise in memory than on the wire: `Live` is what the hooks work on
 * beside the fields. Usage: `vmstateOf<{ table: FdTable }>()({ ... preSave: (s) => { s.fds = flatten(s.table); } })`.
 */
export function vmstateOf<Live extends object>() {
  return <const F extends Fields, const S extends Subsections = Record<never, never>>(
    definition: Definition<F, S, Live>,
  ): Description<StateOfParts<F, S> & Live> => build(definition);
}

/**
 * Makes a description of which no type is known, from its parts: for descriptions that come out of a stream's own
 * JSON. Throws ERR_DESCRIPTION for one that cannot work.
 */
export function describe(
  parts: Omit<AnyDescription, "hooks"> & { readonly hooks?: Hooks<never> },
): Description<Record<string, unknown>> {
  return assemble(parts);
}

function assemble(parts: Omit<AnyDescription, "hooks"> & { readonly hooks?: Hooks<never> }): AnyDescription {
  const { name, version, minimumVersion, fields, subsections } = parts;
  checkVersions(name, version, minimumVersion);
  const seen = new Set<string>();
  for (const { name: fieldName, field } of fields) {
    checkName(name, fieldName, seen);
    for (const needed of field.needs ?? []) {
      if (!seen.has(needed)) throw wrong(name, `field "${fieldName}" needs "${needed}", which does not come before it`);
    }
    if (field.exists === undefined && field.mustExist !== true && (field.version ?? 0) > version) {
      const reason = `field "${fieldName}" exists from version ${field.version} on`;
      throw wrong(name, `${reason}, but the description has version ${version}: it would never be sent`);
    }
    seen.add(fieldName);
  }
  let depth = 1;
  const inner = [
    ...fields.flatMap(({ field }) => field.descriptions ?? []),
    ...subsections.map((one) => one.description),
  ];
  for (const one of inner) depth = Math.max(depth, 1 + (depths.get(one) ?? 1));
  if (depth > maxDepth) throw wrong(name, `structures nest ${depth} deep: more than ${maxDepth} are not loaded`);
  for (const { key, description } of subsections) {
    checkName(name, key, seen);
    if (description.version > 255)
      throw wrong(
        name,
        `subsection "${description.name}" has version ${description.version}: above 255 none is loaded`,
      );
    seen.add(key);
    // The loader knows a subsection by its parent's name in front (QEMU 10.0 migration/vmstate.c).
    if (!description.name.startsWith(name) || description.name.length === name.length) {
      throw wrong(name, `the name of subsection "${description.name}" must begin with "${name}" and go on`);
    }
    if (description.name.length > 255)
      throw wrong(name, `the name of subsection "${description.name}" is longer than 255`);
  }
  const made: AnyDescription = Object.freeze({
    name,
    version,
    minimumVersion,
    fields: Object.freeze([...fields]),
    subsections: Object.freeze([...subsections]),
    hooks: parts.hooks ?? {},
  });
  depths.set(made, depth);
  return made;
}

/** How deep structures nest in a description, itself among them. */
const depths = new WeakMap<AnyDescription, number>();

function build<F extends Fields, S extends Subsections, Live>(
  definition: Definition<F, S, Live>,
): Description<StateOfParts<F, S> & Live> {
  const { name, version, minimumVersion = 0, preLoad, postLoad, preSave, postSave } = definition;
  const needed: { readonly [key: string]: ((state: never) => boolean) | undefined } = definition.needed ?? {};
  const fields = Object.entries<AnyField>(definition.fields);
  for (const [field, kind] of fields) {
    if (typeof kind === "function") {
      const { name: called } = kind as { readonly name: string };
      throw wrong(name, `field "${field}" is the function ${called} itself: call it, ${called}()`);
    }
    if (typeof kind?.load !== "function") throw wrong(name, `field "${field}" is not a field`);
    if (/^\d+$/.test(field)) throw wrong(name, `field name "${field}" is integer-like: JavaScript would reorder it`);
  }
  return assemble({
    name,
    version,
    minimumVersion,
    fields: fields.map(([fieldName, field]) => ({ name: fieldName, field })),
    subsections: Object.entries<AnyDescription>(definition.subsections ?? {}).map(([key, description]) => ({
      key,
      description,
      needed: needed[key],
    })),
    // The hooks were checked against the state's type above; inside, a description forgets it.
    hooks: { preLoad, postLoad, preSave, postSave } as Hooks<never>,
  });
}

function checkVersions(name: string, version: number, minimum: number): void {
  for (const value of [version, minimum]) {
    if (!Number.isInteger(value) || value < 0 || value > 0x7fffffff)
      throw wrong(name, `version ${value} is not an integer from 0 to 2147483647`);
  }
  if (minimum > version) throw wrong(name, `minimumVersion ${minimum} is above version ${version}`);
}

function checkName(description: string, name: string, seen: ReadonlySet<string>): void {
  if (name === "__proto__") throw wrong(description, `"__proto__" cannot be a name`);
  if (seen.has(name)) throw wrong(description, `the name "${name}" appears twice`);
}

function wrong(name: string, reason: string): CprkitError {
  return new CprkitError("ERR_DESCRIPTION", `description "${name}": ${reason}`);
}
