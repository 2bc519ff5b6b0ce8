// Writes the statements that save. Locals of the function: `w` the writer, `b` its bytes, `v` a view of them, `room`
// their number, `p` the place; with fds `k` the number of the next and `num`.

import type { PlannedField } from "../compiled.ts";
import { planOf } from "../engine.ts";
import { type Recipe, saveRecipe } from "../recipes.ts";
import { fieldMinimum, maxEmptyElements } from "../sizes.ts";
import type { AnyDescription, AnyField } from "../types.ts";
import { scalars } from "./scalars.ts";
import { countOf, emit, here, NotWritten, newName, type Source, settle, type Values } from "./source.ts";

/** Saves the fields of `state`, a name. Throws {@link NotWritten}. */
export function writeSaves(
  source: Source,
  fields: readonly PlannedField[],
  state: string,
  values: Values = new Map(),
): void {
  for (const [at, { name, field }] of fields.entries()) {
    const value = newName(source);
    emit(source, `const ${value} = ${state}[${JSON.stringify(name)}];`);
    const size = fixedSize(field) ?? 0;
    if (size > 0) needRoom(source, size, () => runLength(fields.slice(at)));
    writeSave(source, field, value, values);
    values.set(name, value);
  }
}

/** Takes over what the writer may have changed: its bytes are others after it grew. */
export const refresh = "b = w.bytes; v = w.view; room = b.length;";

function writeSave(source: Source, field: AnyField, value: string, values: Values): void {
  const recipe = saveRecipe(field);
  switch (recipe?.kind) {
    case "scalar": {
      const { size, misfit, write } = scalars[recipe.of];
      emit(source, `if (${misfit(value)}) ${source.bail}`);
      emit(source, write(here(source), value));
      source.offset += size;
      return;
    }
    case "since":
      emit(source, `if (${value} === undefined) ${source.bail}`);
      writeSave(source, recipe.field, value, values);
      return;
    case "bytes":
      emit(source, `if (!(${value} instanceof Uint8Array) || ${value}.length !== ${recipe.size}) ${source.bail}`);
      emit(source, `b.set(${value}, ${here(source)});`);
      source.offset += recipe.size;
      return;
    case "unused":
      emit(source, `b.fill(0, ${here(source)}, ${here(source, recipe.size)});`);
      source.offset += recipe.size;
      return;
    case "cstring": {
      const said = values.get(recipe.lengthField);
      if (said === undefined) throw new NotWritten();
      const length = newName(source);
      emit(source, `if (typeof ${value} !== "string") ${source.bail}`);
      settle(source);
      emit(source, `w.pos = p; const ${length} = w.tryCstring(${value});`);
      emit(source, `if (${said} !== ${length} || ${length} > ${Number(recipe.maxLength)}) ${source.bail}`);
      emit(source, `p += ${length}; if (w.bytes !== b) { ${refresh} }`);
      return;
    }
    case "fd":
      source.usesFds = true;
      settle(source);
      emit(source, `if (typeof ${value} !== "number" || (${value} | 0) !== ${value} || ${value} < -1) ${source.bail}`);
      needRoom(source, 4, () => 4);
      emit(source, `if (num) { if (${value} < 0) ${source.bail}`);
      emit(source, `v.setInt32(p, ${value}); p += 4; } else {`);
      emit(source, `b[p] = 32; if (k * 2 === columns.length) { w.growFds(); columns = w.fdColumns; }`);
      emit(source, `columns[k * 2] = p; columns[k * 2 + 1] = ${value}; k += 1; p += 1; }`);
      source.known = 0;
      return;
    case "array":
      writeArray(source, recipe, value, values);
      return;
    case "struct":
      writeBody(source, recipe.description, recipe.version, value);
      return;
    case "list": {
      const [index, element] = [newName(source), newName(source)];
      emit(source, `if (!Array.isArray(${value})) ${source.bail}`);
      settle(source);
      emit(source, `for (let ${index} = 0; ${index} < ${value}.length; ${index}++) {`);
      emit(source, `const ${element} = ${value}[${index}];`);
      writeByte(source, 1);
      writeBody(source, recipe.description, recipe.description.version, element);
      settle(source);
      emit(source, "}");
      writeByte(source, 0);
      return;
    }
    case "hash":
      writeHash(source, recipe, value);
      return;
    default:
      throw new NotWritten();
  }
}

function writeArray(
  source: Source,
  { element, count, times }: Recipe & { readonly kind: "array" },
  value: string,
  values: Values,
): void {
  const counted = typeof count === "number" ? String(count) : countOf(source, values, count);
  emit(source, `if (!Array.isArray(${value}) || ${value}.length !== ${counted} * ${times}) ${source.bail}`);
  settle(source);
  const [index, part] = [newName(source), newName(source)];
  const size = fixedSize(element) ?? 0;
  // Room for all at once: a writer that grows step by step copies what is there each time.
  const length = newName(source);
  emit(source, `const ${length} = ${value}.length;`);
  if (fieldMinimum(element) === 0) emit(source, `if (${length} > ${maxEmptyElements}) ${source.bail}`);
  if (size > 0) emit(source, roomFor(`${length} * ${size}`));
  emit(source, `for (let ${index} = 0; ${index} < ${length}; ${index}++) {`);
  emit(source, `const ${part} = ${value}[${index}];`);
  source.known = size;
  // Whether it may be missing, and what stands for it, is the engine's business.
  if (element.optional === true) emit(source, `if (${part} === undefined) ${source.bail}`);
  writeSave(source, element, part, values);
  settle(source);
  emit(source, "}");
}

function writeHash(source: Source, { key, value }: Recipe & { readonly kind: "hash" }, table: string): void {
  const [count, held, by] = [newName(source), newName(source), newName(source)];
  emit(source, `if (!H.isMap(${table})) ${source.bail}`);
  settle(source);
  needRoom(source, 4, () => 4);
  emit(source, `const ${count} = ${table}.size; v.setUint32(p, ${count});`);
  source.offset += 4;
  settle(source);
  emit(source, `for (const [${by}, ${held}] of ${table}) {`);
  writeByte(source, 1);
  if (key === undefined) {
    needRoom(source, 8, () => 8);
    emit(source, `if (${scalars.uint64.misfit(by)}) ${source.bail}`);
    emit(source, scalars.uint64.write(here(source), by));
    source.offset += 8;
  } else writeBody(source, key, key.version, by);
  writeBody(source, value, value.version, held);
  settle(source);
  emit(source, "}");
  writeByte(source, 0);
}

export function writeBody(source: Source, description: AnyDescription, version: number, state: string): void {
  const plan = planOf(description, version);
  if (!plan.plain) throw new NotWritten();
  // What is no object may be anything: the engine finds out.
  emit(source, `if (typeof ${state} !== "object" || ${state} === null) ${source.bail}`);
  writeSaves(source, plan.fields, state);
}

export function writeByte(source: Source, byte: number): void {
  needRoom(source, 1, () => 1);
  emit(source, `b[${here(source)}] = ${byte};`);
  source.offset += 1;
}

/** Makes room for the next `size` bytes; for all of a run at once. */
function needRoom(source: Source, size: number, run: () => number): void {
  if (source.offset + size <= source.known) return;
  settle(source);
  source.known = run();
  emit(source, roomFor(String(source.known)));
}

function roomFor(bytes: string): string {
  return `if (p + ${bytes} > room) { w.pos = p; w.grow(${bytes}); ${refresh} }`;
}

function runLength(fields: readonly PlannedField[]): number {
  let length = 0;
  for (const { field } of fields) {
    const size = fixedSize(field);
    if (size === undefined) return length;
    length += size;
  }
  return length;
}

/** Bytes of what is written without a loop; undefined: it makes its room itself. */
function fixedSize(field: AnyField): number | undefined {
  const recipe = saveRecipe(field);
  switch (recipe?.kind) {
    case "scalar":
      return scalars[recipe.of].size;
    case "since":
      return fixedSize(recipe.field);
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
