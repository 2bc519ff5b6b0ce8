// Loaded fds before they are in the table, as the table keeps them: numbers in one array, no object for each, and each name once.

import { dictionary, enlarged, entryFd, entryFields, entryId } from "./entries.ts";

/** What was loaded, in the order of the wire: newest first. */
export interface LoadedFds {
  readonly names: string[];
  /** Name -> its place in `names`. */
  readonly numbers: Record<string, number | undefined>;
  /** For each fd the number of its name, id, fd. */
  entries: Int32Array<ArrayBuffer>;
  count: number;
  /** What came last: the next has its name often. */
  lastName: string;
  lastNumber: number;
}

/** Without entries. */
export function loadedFds(): LoadedFds {
  const entries = new Int32Array(entryFields * 64);
  return { names: [], numbers: dictionary(), entries, count: 0, lastName: "", lastNumber: -1 };
}

/** Adds an entry: an id and an fd of 32 bits. */
export function pushFd(loaded: LoadedFds, name: string, id: number, fd: number): void {
  const number = name === loaded.lastName && loaded.lastNumber >= 0 ? loaded.lastNumber : numberOf(loaded, name);
  const at = loaded.count++ * entryFields;
  if (at === loaded.entries.length) loaded.entries = enlarged(loaded.entries, at * 2);
  const { entries } = loaded;
  entries[at] = number;
  entries[at + entryId] = id;
  entries[at + entryFd] = fd;
}

function numberOf(loaded: LoadedFds, name: string): number {
  let number = loaded.numbers[name];
  if (number === undefined) {
    number = loaded.names.push(name) - 1;
    loaded.numbers[name] = number;
  }
  loaded.lastName = name;
  loaded.lastNumber = number;
  return number;
}
