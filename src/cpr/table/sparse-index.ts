// (number, id) -> entry, for the ids of the fd table that no array can hold: negative ones and ones far apart. Open
// addressing over one Int32Array: number, id, entry + 1 of each key are side by side, in one cache line.

export class SparseIndex {
  /** Rows of number, id, entry + 1: 0 where nothing was ever, `deleted` where something was. */
  #rows = new Int32Array(fields * 16);
  /** How far to shift a hash to get a row. */
  #shift = 28;
  /** Rows that are not 0. */
  #used = 0;
  #size = 0;

  /** The entry, or -1. */
  find(number: number, id: number): number {
    const row = this.#rowOf(number, id);
    return row < 0 ? -1 : at(this.#rows, row + rowEntry) - 1;
  }

  /** Adds a key, which must be absent. */
  add(number: number, id: number, entry: number): void {
    if ((this.#used + 1) * 2 * fields > this.#rows.length) this.#rebuild();
    this.#put(number, id, entry + 1);
    this.#size += 1;
  }

  /** Removes the key and returns its entry, or -1. */
  delete(number: number, id: number): number {
    const row = this.#rowOf(number, id);
    if (row < 0) return -1;
    const entry = at(this.#rows, row + rowEntry) - 1;
    // Not 0: the search for a key after it goes on here.
    this.#rows[row + rowEntry] = deleted;
    this.#size -= 1;
    return entry;
  }

  #rowOf(number: number, id: number): number {
    const rows = this.#rows;
    let row = (hash(number, id) >>> this.#shift) * fields;
    for (;;) {
      const found = at(rows, row + rowEntry);
      if (found === 0) return -1;
      if (at(rows, row + rowId) === id && at(rows, row) === number && found !== deleted) return row;
      row += fields;
      if (row === rows.length) row = 0;
    }
  }

  #put(number: number, id: number, mark: number): void {
    const rows = this.#rows;
    let row = (hash(number, id) >>> this.#shift) * fields;
    while (at(rows, row + rowEntry) !== 0) {
      row += fields;
      if (row === rows.length) row = 0;
    }
    rows[row] = number;
    rows[row + rowId] = id;
    rows[row + rowEntry] = mark;
    this.#used += 1;
  }

  /** Drops deleted rows, and makes room for twice the keys if they are many. */
  #rebuild(): void {
    const old = this.#rows;
    const widen = this.#size * 4 * fields >= old.length;
    this.#rows = new Int32Array(widen ? old.length * 2 : old.length);
    if (widen) this.#shift -= 1;
    this.#used = 0;
    for (let row = 0; row < old.length; row += fields) {
      const mark = at(old, row + rowEntry);
      if (mark > 0) this.#put(at(old, row), at(old, row + rowId), mark);
    }
  }
}

const rowId = 1;
const rowEntry = 2;
const fields = 4;
const deleted = -1;

// Ids come from a stream that may be hostile: without a secret they could be chosen to collide, and each look-up would
// walk them all (60,000 in V8's Map, which hashes numbers without one, took 5.7 s to insert).
const secrets = Int32Array.from({ length: 2 }, () => Math.random() * 2 ** 32);
const [idSecret = 0, numberSecret = 0] = secrets;

/** All 32 bits of it depend on all of `id`'s (the finalizer of MurmurHash3, keyed). */
function hash(number: number, id: number): number {
  let mixed = id ^ idSecret ^ Math.imul(number ^ numberSecret, 0x9e3779b1);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

function at(array: Int32Array, index: number): number {
  return array[index] as number;
}
