// Writes the statements that load. Locals of the function: `r` the reader, `b` its bytes, `v` a view of them, `end`
// their number, `p` the place; with fds `k` the number of the next, `fds`, `num`, `base`.

import type { PlannedField } from "../compiled.ts";
import { planOf } from "../engine.ts";
import { loadRecipe, type Recipe } from "../recipes.ts";
import { fieldMinimum, maxEmptyElements } from "../sizes.ts";
import type { AnyDescription, AnyField } from "../types.ts";
import { scalars } from "./scalars.ts";
import { countOf, emit, here, NotWritten, newName, type Source, settle, type Values } from "./source.ts";

/** Loads the fields; returns the names of their values. Throws {@link NotWritten}. */
export function writeLoads(source: Source, fields: readonly PlannedField[], values: Values = new Map()): Values {
  for (const [at, { name, field }] of fields.entries()) {
    const size = fixedSize(field) ?? 0;
    if (size > 0) needBytes(source, size, () => runLength(fields.slice(at)));
    values.set(name, writeLoad(source, field, values));
  }
  return values;
}

/** The object that holds the values. */
export function literal(values: Values): string {
  const members = [...values].map(([name, value]) => `${JSON.stringify(name)}: ${value}`);
  return `{ ${members.join(", ")} }`;
}

/** Gives up where a subsection follows the body: its description has none. */
export function writeEndOfBody(source: Source, name: string): void {
  const at = here(source);
  emit(source, `if (${at} < end && b[${at}] === 5 && H.nameFollows(r, ${at}, ${JSON.stringify(name)})) ${source.bail}`);
}

/** Whether what the target holds matters to how `field` loads. */
export function comparesWithTarget(field: AnyField): boolean {
  const recipe = loadRecipe(field);
  if (recipe?.kind === "scalar") return recipe.compares === true;
  return recipe !== undefined && ["array", "struct", "hash"].includes(recipe.kind);
}

function writeLoad(source: Source, field: AnyField, values: Values): string {
  const recipe = loadRecipe(field);
  const value = newName(source);
  switch (recipe?.kind) {
    case "scalar": {
      const { size, read, wrong, value: convert } = scalars[recipe.of];
      emit(source, `const ${value} = ${read(here(source))};`);
      if (wrong !== undefined) emit(source, `if (${wrong(value)}) ${source.bail}`);
      source.offset += size;
      return convert === undefined ? value : named(source, convert(value));
    }
    case "bytes":
      emit(source, `const ${value} = b.subarray(${here(source)}, ${here(source, recipe.size)});`);
      source.offset += recipe.size;
      return value;
    case "unused":
      source.offset += recipe.size;
      return "undefined";
    case "cstring": {
      const length = countOf(source, values, recipe.lengthField);
      settle(source);
      emit(
        source,
        `if (${length} < 1 || ${length} > ${Number(recipe.maxLength)} || ${length} > end - p) ${source.bail}`,
      );
      emit(source, `const ${value} = r.cstringAt(p, ${length});`);
      emit(source, `if (${value} === undefined) ${source.bail}`);
      emit(source, `p += ${length};`);
      return value;
    }
    case "fd":
      source.usesFds = true;
      settle(source);
      emit(source, `let ${value} = -1;`);
      emit(source, `if (num) { if (end - p < 4) ${source.bail}`);
      emit(source, `${value} = v.getInt32(p); if (${value} < 0) ${source.bail}`);
      emit(source, `p += 4; } else { if (p >= end || b[p] !== 32) ${source.bail}`);
      emit(source, `if (fds !== undefined) { const passed = fds[k];`);
      emit(source, `if (passed === undefined || passed.offset > base + p) ${source.bail}`);
      emit(source, `${value} = passed.fd; k += 1; } p += 1; }`);
      return value;
    case "array":
      return writeArray(source, recipe, values);
    case "struct":
      return writeObject(source, recipe.description, recipe.version);
    case "list": {
      settle(source);
      emit(source, `const ${value} = []; for (;;) {`);
      emit(source, `if (p >= end) ${source.bail}`);
      emit(source, `const more = b[p]; p += 1; if (more === 0) break; if (more !== 1) ${source.bail}`);
      const element = writeObject(source, recipe.description, recipe.version);
      settle(source);
      emit(source, `${value}.push(${element}); }`);
      return value;
    }
    case "hash":
      return writeHash(source, recipe);
    default:
      throw new NotWritten();
  }
}

function writeArray(source: Source, recipe: Recipe & { readonly kind: "array" }, values: Values): string {
  const { element, count, times } = recipe;
  settle(source);
  const counted = typeof count === "number" ? String(count) : countOf(source, values, count);
  const length = times === 1 ? counted : named(source, `${counted} * ${times}`);
  const minimum = fieldMinimum(element);
  // As checkCount.
  emit(
    source,
    `if (${minimum === 0 ? `${length} > ${maxEmptyElements}` : `${length} * ${minimum} > end - p`}) ${source.bail}`,
  );
  const elements = newName(source);
  const index = newName(source);
  emit(source, `const ${elements} = []; for (let ${index} = 0; ${index} < ${length}; ${index}++) {`);
  source.known = fixedSize(element) === undefined ? 0 : minimum;
  const value = writeLoad(source, element, values);
  settle(source);
  emit(source, `${elements}.push(${value}); }`);
  return elements;
}

function writeHash(source: Source, { key, value, version }: Recipe & { readonly kind: "hash" }): string {
  settle(source);
  const [table, count, at] = [newName(source), newName(source), newName(source)];
  emit(source, `if (end - p < 4) ${source.bail}`);
  emit(source, `const ${count} = v.getUint32(p); p += 4; if (${count} > end - p) ${source.bail}`);
  emit(source, `const ${table} = new Map(); let ${at} = 0; for (;; ${at}++) {`);
  emit(source, `if (p >= end) ${source.bail}`);
  emit(
    source,
    `const more = b[p]; p += 1; if (more === 0) break; if (more !== 1 || ${at} === ${count}) ${source.bail}`,
  );
  let keyValue: string;
  if (key === undefined) {
    emit(source, `if (end - p < 8) ${source.bail}`);
    keyValue = named(source, "v.getBigUint64(p)");
    source.offset = 8;
  } else keyValue = named(source, writeObject(source, key, version));
  const held = writeObject(source, value, version);
  settle(source);
  emit(source, `${table}.set(${keyValue}, ${held}); }`);
  emit(source, `if (${at} !== ${count}) ${source.bail}`);
  return table;
}

/** A body of its own; returns the values by name. Throws {@link NotWritten}. */
export function writeBody(source: Source, description: AnyDescription, version: number): Values {
  const plan = planOf(description, version);
  if (!plan.plain || version > description.version || version < description.minimumVersion) throw new NotWritten();
  source.depth += 1;
  source.deepest = Math.max(source.deepest, source.depth);
  const values = writeLoads(source, plan.fields);
  source.depth -= 1;
  writeEndOfBody(source, description.name);
  return values;
}

function writeObject(source: Source, description: AnyDescription, version: number): string {
  return named(source, literal(writeBody(source, description, version)));
}

/** Gives up unless the next `size` bytes are there; asks for all of a run at once. */
function needBytes(source: Source, size: number, run: () => number): void {
  if (source.offset + size <= source.known) return;
  settle(source);
  source.known = run();
  emit(source, `if (end - p < ${source.known}) ${source.bail}`);
}

function named(source: Source, expression: string): string {
  const name = newName(source);
  emit(source, `const ${name} = ${expression};`);
  return name;
}

/** Bytes of the fields up to the first whose length is only known at run time. */
function runLength(fields: readonly PlannedField[]): number {
  let length = 0;
  for (const { field } of fields) {
    const size = fixedSize(field);
    if (size === undefined) return length + leadingRun(field);
    length += size;
  }
  return length;
}

function leadingRun(field: AnyField): number {
  const recipe = loadRecipe(field);
  return recipe?.kind === "struct" ? runLength(planOf(recipe.description, recipe.version).fields) : 0;
}

/** Bytes of what is written without a loop; undefined: it asks for its bytes itself. */
function fixedSize(field: AnyField): number | undefined {
  const recipe = loadRecipe(field);
  switch (recipe?.kind) {
    case "scalar":
      return scalars[recipe.of].size;
    case "bytes":
    case "unused":
      return recipe.size;
    case "struct": {
      let size = 0;
      for (const inner of planOf(recipe.description, recipe.version).fields) {
        const innerSize = fixedSize(inner.field);
        if (innerSize === undefined) return undefined;
        size += innerSize;
      }
      return size;
    }
    default:
      return undefined;
  }
}
