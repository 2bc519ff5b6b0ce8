// Puts the statements together into functions: for a whole body where it is its fields alone and each can be written
// out, else for the runs of fields that can.

import type { BodyPlan, CompiledBody, CompiledEntry, EntryPart, PlannedField } from "../compiled.ts";
import { loadFields, nameFollows, saveFields } from "../engine.ts";
import { maxDepth } from "../wire/reader.ts";
import { comparesWithTarget, literal, writeBody, writeEndOfBody, writeLoads } from "./load.ts";
import { refresh, writeBody as saveBodyOf, writeByte, writeSaves } from "./save.ts";
import { emit, NotWritten, newSource, type Source, settle, type Values } from "./source.ts";

/** Code for the bodies of one description at one version. Without leave to generate code: none. */
export function compileBody(plan: BodyPlan): CompiledBody {
  try {
    const load = plan.plain ? written(() => wholeLoad(plan)) : undefined;
    const save = plan.plain ? written(() => wholeSave(plan)) : undefined;
    return {
      load,
      save,
      loadFields: load === undefined ? loadRuns(plan.fields) : undefined,
      saveFields: save === undefined ? saveRuns(plan.fields) : undefined,
    };
  } catch (error) {
    // A content security policy.
    if (error instanceof EvalError) return {};
    throw error;
  }
}

/** Code for entries of lists and tables. */
export function compileEntry(parts: readonly EntryPart[]): CompiledEntry {
  if (parts.length === 0) return {};
  try {
    return { load: written(() => entryLoad(parts)), save: written(() => entrySave(parts)) };
  } catch (error) {
    if (error instanceof EvalError) return {};
    throw error;
  }
}

const giveUpLoad = "return undefined;";
const giveUpSave = "return w.back(start);";

function wholeLoad({ description, fields }: BodyPlan): NonNullable<CompiledBody["load"]> {
  const source = newSource(giveUpLoad);
  const values = writeLoads(source, fields);
  writeEndOfBody(source, description.name);
  settle(source);
  emit(source, "r.pos = p;");
  if (source.usesFds) emit(source, "r.fdsTaken = k;");
  emit(source, `if (target === undefined) return ${literal(values)};`);
  for (const [name, value] of values) emit(source, `target[${JSON.stringify(name)}] = ${value};`);
  emit(source, "return target;");
  return makeFunction("r, target", [`${depthCheck(source, 1)} ${giveUpLoad}`, ...loadLocals(source), ...source.lines]);
}

function wholeSave({ fields }: BodyPlan): NonNullable<CompiledBody["save"]> {
  const source = newSource(giveUpSave);
  writeSaves(source, fields, "state");
  settle(source);
  emit(source, "w.pos = p;");
  if (source.usesFds) emit(source, "w.fdCount = k;");
  emit(source, "return true;");
  const first = `if (typeof state !== "object" || state === null) return false;`;
  return makeFunction("w, state", [first, ...saveLocals(source), ...source.lines]);
}

const targets = ["first", "second"];

function entryLoad(parts: readonly EntryPart[]): NonNullable<CompiledEntry["load"]> {
  const source = newSource("return false;");
  emit(source, `if (p >= end || b[p] !== 1) ${source.bail}`);
  source.offset = 1;
  source.known = 1;
  const loaded = parts.map(({ description, version }) => writeBody(source, description, version));
  settle(source);
  emit(source, "r.pos = p;");
  if (source.usesFds) emit(source, "r.fdsTaken = k;");
  for (const [at, values] of loaded.entries())
    for (const [name, value] of values) emit(source, `${targets[at]}[${JSON.stringify(name)}] = ${value};`);
  emit(source, "return true;");
  const check = `${depthCheck(source, 0)} ${source.bail}`;
  return makeFunction("r, first, second", [check, ...loadLocals(source), ...source.lines]);
}

function entrySave(parts: readonly EntryPart[]): NonNullable<CompiledEntry["save"]> {
  const source = newSource(giveUpSave);
  writeByte(source, 1);
  for (const [at, { description }] of parts.entries())
    saveBodyOf(source, description, description.version, targets[at] as string);
  settle(source);
  emit(source, "w.pos = p;");
  if (source.usesFds) emit(source, "w.fdCount = k;");
  emit(source, "return true;");
  return makeFunction("w, first, second", [...saveLocals(source), ...source.lines]);
}

function loadRuns(fields: readonly PlannedField[]): CompiledBody["loadFields"] {
  return makeRuns("r, state, version", "H.loadFields(r", fields, (part, before, giveUp) => {
    const source = newSource(giveUp);
    // The target is new, but hooks and fields before may have put something there.
    for (const { name, field } of part)
      if (comparesWithTarget(field)) emit(source, `if (state[${JSON.stringify(name)}] !== undefined) ${source.bail}`);
    const values = writeLoads(source, part, before);
    settle(source);
    emit(source, "r.pos = p;");
    if (source.usesFds) emit(source, "r.fdsTaken = k;");
    for (const { name } of part) emit(source, `state[${JSON.stringify(name)}] = ${values.get(name)};`);
    return [`${depthCheck(source, 0)} ${giveUp}`, ...loadLocals(source), ...source.lines];
  });
}

function saveRuns(fields: readonly PlannedField[]): CompiledBody["saveFields"] {
  return makeRuns("w, state, version", "H.saveFields(w", fields, (part, before, giveUp) => {
    const source = newSource(`{ w.back(start); ${giveUp} }`);
    writeSaves(source, part, "state", before);
    settle(source);
    emit(source, "w.pos = p;");
    if (source.usesFds) emit(source, "w.fdCount = k;");
    return [...saveLocals(source), ...source.lines];
  });
}

/** Writes the statements for some fields. `before`: values of the fields before them. Throws {@link NotWritten}. */
type WriteRun = (part: readonly PlannedField[], before: Values, giveUp: string) => string[];

/**
 * A function for all fields: runs of those that can be written out, each of which gives up as a whole, and between them
 * the engine. Undefined if none can.
 */
function makeRuns<F>(
  parameters: string,
  engine: string,
  fields: readonly PlannedField[],
  write: WriteRun,
): F | undefined {
  const lines: string[] = [];
  for (const [at, { from, to, writes }] of runsOf(fields, write).entries()) {
    const call = `${engine}, H.fields, ${from}, ${to}, state, version);`;
    const run = writes
      ? written(() => write(fields.slice(from, to), valuesOf(fields.slice(0, from)), `break run${at};`))
      : undefined;
    if (run === undefined) lines.push(call);
    else lines.push(`let done${at} = false; run${at}: {`, ...run, `done${at} = true; } if (!done${at}) ${call}`);
  }
  return lines.some((line) => line.startsWith("let")) ? makeFunction<F>(parameters, lines, fields) : undefined;
}

interface Run {
  readonly from: number;
  /** After the last one. */
  to: number;
  readonly writes: boolean;
}

/** What a function's budget is enough for, unless its fields nest deeply: then the engine does it. */
const longestRun = 200;

function runsOf(fields: readonly PlannedField[], write: WriteRun): Run[] {
  const runs: Run[] = [];
  const before: Values = new Map();
  for (const [at, field] of fields.entries()) {
    const writes = field.sure && written(() => write([field], before, "")) !== undefined;
    before.set(field.name, "0");
    const last = runs.at(-1);
    if (last?.writes === writes && at - last.from < longestRun) last.to = at + 1;
    else runs.push({ from: at, to: at + 1, writes });
  }
  return runs;
}

function valuesOf(fields: readonly PlannedField[]): Values {
  return new Map(fields.map(({ name }) => [name, `state[${JSON.stringify(name)}]`]));
}

function depthCheck({ deepest }: Source, own: number): string {
  return `if (r.depth + ${deepest + own} > ${maxDepth})`;
}

function loadLocals({ usesFds }: Source): string[] {
  const fds = 'const fds = r.fds, base = r.base, num = r.fdForm === "number"; let k = r.fdsTaken;';
  return ["const b = r.bytes, v = r.view, end = r.end; let p = r.pos;", ...(usesFds ? [fds] : [])];
}

function saveLocals({ usesFds }: Source): string[] {
  const fds = 'const num = w.fdForm === "number"; let k = w.fdCount, columns = w.fdColumns;';
  const locals = `const start = w.pos; let p = start, b, v, room; ${refresh}`;
  return [locals, ...(usesFds ? [fds] : [])];
}

function isMap(value: unknown): boolean {
  return value instanceof Map && Object.getPrototypeOf(value) === Map.prototype;
}

/** What `make` gives, or undefined if it cannot be written. */
function written<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof NotWritten) return undefined;
    throw error;
  }
}

function makeFunction<F>(parameters: string, lines: readonly string[], fields: readonly PlannedField[] = []): F {
  const helpers = { fields, loadFields, saveFields, nameFollows, isMap };
  const text = `"use strict"; return (${parameters}) => {\n${lines.join("\n")}\n};`;
  return new Function("H", text)(helpers) as F;
}
