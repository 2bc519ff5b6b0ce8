// The text of a function while it is made. Of a description nothing stands in it but numbers that were checked, and names
// by JSON.stringify.

/** Text for one function. `at` and `known` are kept by what writes the statements (load.ts, save.ts). */
export interface Source {
  readonly lines: string[];
  /** The statement that gives up. */
  bail: string;
  /** Bytes from `p` that the next value begins after. */
  offset: number;
  /** Bytes from `p` that are known to be there. */
  known: number;
  /** Names given so far. */
  names: number;
  /** How deep structures nest at most, and here. */
  deepest: number;
  depth: number;
  /** What may still be written: code without an end is slower than the engine. */
  budget: number;
  /** Fds are taken, or passed. */
  usesFds: boolean;
}

export function newSource(bail: string): Source {
  return {
    lines: [],
    bail,
    offset: 0,
    known: 0,
    names: 0,
    deepest: 0,
    depth: 0,
    budget: 2000,
    usesFds: false,
  };
}

/** Adds a line. */
export function emit(source: Source, line: string): void {
  source.budget -= 1;
  if (source.budget < 0) throw new NotWritten();
  source.lines.push(line);
}

/** A name that no other value of the function has. */
export function newName(source: Source): string {
  return `x${source.names++}`;
}

/** Where the next value is. */
export function here(source: Source, ahead = 0): string {
  const offset = source.offset + ahead;
  return offset === 0 ? "p" : `p + ${offset}`;
}

/** Moves `p` to the next value: before a loop, or where the number of bytes is only known at run time. */
export function settle(source: Source): void {
  if (source.offset > 0) emit(source, `p += ${source.offset};`);
  source.offset = 0;
  source.known = 0;
}

/** Thrown while code is made: this cannot be written out. */
export class NotWritten extends Error {}

/** The values of the body that is being written, by the names of their fields. */
export type Values = Map<string, string>;

/** The count that a field beside this one holds, at most 2^31 - 1, or the giving up. */
export function countOf(source: Source, values: Values, name: string): string {
  const value = values.get(name);
  if (value === undefined) throw new NotWritten();
  const count = newName(source);
  emit(source, `const ${count} = typeof ${value} === "bigint" ? Number(${value}) : ${value};`);
  emit(source, `if (typeof ${count} !== "number" || (${count} | 0) !== ${count} || ${count} < 0) ${source.bail}`);
  return count;
}
