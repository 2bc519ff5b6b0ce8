// How the table keeps its entries, and what was loaded before it is there: number of the name, id, fd, in one array.

/** Where in an entry its id is. */
export const entryId = 1;
/** Where its fd is. */
export const entryFd = 2;
/** Words of an entry. */
export const entryFields = 3;

/**
 * Numbers by name, in an object without a prototype: V8 makes each name that is asked for unique, once, and compares
 * addresses from then on, where a Map compares characters (10 ns against 19 for a look-up among 7,530 fds).
 */
export function dictionary(): Record<string, number | undefined> {
  const empty: Record<string, number | undefined> = Object.create(null);
  // An object that something was deleted from is a hash table to V8, however few names it has.
  empty["name"] = 0;
  delete empty["name"];
  return empty;
}

/** A longer copy, with zeros at the end. */
export function enlarged(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(length);
  larger.set(array);
  return larger;
}
