// The table behind CprState: (name, id) -> fd in O(1), in the order of saving, without building a key per look-up.
//
// Name first, then id: a string's hash is kept in the string, so a look-up hashes nothing anew. Most names have one
// fd (RAM blocks, devices): their entry's index stands in the map itself. A name with more (interrupt vectors) has an
// index by id. docs/decisions/0002-fd-table.md tells what else was tried.

/** An fd and the key it is kept under. `id` is signed, 32 bits. */
export interface FdEntry {
  readonly name: string;
  readonly id: number;
  readonly fd: number;
}

/** Keys to fds. It knows nothing of rules: {@link FdTable.add} expects an absent key. */
export class FdTable {
  /** Index of the entry when the name has only one, else the index by id. */
  readonly #byName = new Map<string, number | IdIndex>();
  // Entry i, oldest first; a deleted one has no name.
  #names: (string | undefined)[] = [];
  #ids = new Int32Array(16);
  #fds = new Int32Array(16);
  #used = 0;
  #size = 0;

  /** Entries in the table. */
  get size(): number {
    return this.#size;
  }

  /** The fd kept under the key, or undefined. */
  get(name: string, id: number): number | undefined {
    const found = this.#byName.get(name);
    if (typeof found === "number") return this.#ids[found] === id ? this.#fds[found] : undefined;
    if (found === undefined) return undefined;
    const { dense } = found;
    // A negative or a too large id reads as undefined here.
    const at = dense[id];
    if (at !== undefined && at !== absent) return this.#fds[at];
    const sparse = found.sparse?.get(scramble(id));
    // What is no s32 may scramble to what another id does.
    return sparse !== undefined && this.#ids[sparse] === id ? this.#fds[sparse] : undefined;
  }

  /** Adds an entry as the newest. The key must be absent, the id an s32. */
  add(name: string, id: number, fd: number): void {
    const at = this.#used;
    if (at === this.#ids.length) this.#grow();
    this.#names[at] = name;
    this.#ids[at] = id;
    this.#fds[at] = fd;
    this.#used = at + 1;
    this.#size += 1;
    this.#index(name, id, at);
  }

  /** Removes the entry; false if there is none. */
  delete(name: string, id: number): boolean {
    const found = this.#byName.get(name);
    if (found === undefined) return false;
    let at: number;
    if (typeof found === "number") {
      if (this.#ids[found] !== id) return false;
      at = found;
      this.#byName.delete(name);
    } else {
      const removed = found.remove(id, this.#ids);
      if (removed === undefined) return false;
      at = removed;
      if (found.count === 0) this.#byName.delete(name);
    }
    this.#names[at] = undefined;
    this.#size -= 1;
    if (this.#used > 64 && this.#size < this.#used >> 1) this.#compact();
    return true;
  }

  /** Calls `visit` for each entry, newest first, until it returns false; false if it did. The table must not change. */
  walk(visit: (name: string, id: number, fd: number) => boolean): boolean {
    for (let at = this.#used - 1; at >= 0; at--) {
      const name = this.#names[at];
      if (name === undefined) continue;
      if (!visit(name, this.#ids[at] as number, this.#fds[at] as number)) return false;
    }
    return true;
  }

  #index(name: string, id: number, at: number): void {
    const found = this.#byName.get(name);
    if (found === undefined) {
      this.#byName.set(name, at);
    } else if (typeof found === "number") {
      const index = new IdIndex();
      index.put(this.#ids[found] as number, found, this.#ids);
      index.put(id, at, this.#ids);
      this.#byName.set(name, index);
    } else {
      found.put(id, at, this.#ids);
    }
  }

  #grow(): void {
    this.#ids = enlarged(this.#ids, this.#ids.length * 2);
    this.#fds = enlarged(this.#fds, this.#fds.length * 2);
  }

  /** Closes the gaps that deleted entries left. */
  #compact(): void {
    const names = this.#names;
    const used = this.#used;
    this.#byName.clear();
    this.#names = [];
    this.#used = 0;
    for (let at = 0; at < used; at++) {
      const name = names[at];
      if (name === undefined) continue;
      const to = this.#used++;
      this.#names[to] = name;
      this.#ids[to] = this.#ids[at] as number;
      this.#fds[to] = this.#fds[at] as number;
      this.#index(name, this.#ids[to] as number, to);
    }
  }
}

const absent = -1;

/** Entry indexes of one name by id: an array for ids from 0 on as long as it stays well filled, a map for the rest. */
class IdIndex {
  dense = new Int32Array(0);
  /** By {@link scramble}d id. */
  sparse: Map<number, number> | undefined = undefined;
  count = 0;

  /** `ids` has the id of each entry. */
  put(id: number, at: number, ids: Int32Array): void {
    this.count += 1;
    if (id >= 0 && id < this.dense.length) {
      this.dense[id] = at;
    } else if (id >= 0 && id < this.count * 2 + 8) {
      this.#widen(Math.max(id + 1, this.dense.length * 2, 8), ids);
      this.dense[id] = at;
    } else {
      this.sparse ??= new Map();
      this.sparse.set(scramble(id), at);
    }
  }

  remove(id: number, ids: Int32Array): number | undefined {
    const at = this.dense[id];
    if (at !== undefined && at !== absent) {
      this.dense[id] = absent;
      this.count -= 1;
      return at;
    }
    const key = scramble(id);
    const found = this.sparse?.get(key);
    if (found === undefined || ids[found] !== id) return undefined;
    this.sparse?.delete(key);
    this.count -= 1;
    return found;
  }

  #widen(length: number, ids: Int32Array): void {
    const from = this.dense.length;
    this.dense = enlarged(this.dense, length);
    this.dense.fill(absent, from);
    // What came before its place existed moves into it, so that an id is never looked for twice.
    if (this.sparse === undefined) return;
    for (const [key, at] of this.sparse) {
      const id = ids[at] as number;
      if (id < 0 || id >= length) continue;
      this.dense[id] = at;
      this.sparse.delete(key);
    }
  }
}

// A Map hashes a string with a seed, but a number without: ids chosen so that they collide would make each look-up walk
// them all (60,000 took 5.7 s to insert). One-to-one on 32 bits, and another one in each process.
const salt = (Math.random() * 2 ** 32) | 0;
const factor = (Math.random() * 2 ** 32) | 0 | 1;

function scramble(id: number): number {
  const mixed = Math.imul(id ^ salt, factor);
  return mixed ^ (mixed >>> 16);
}

function enlarged(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(length);
  larger.set(array);
  return larger;
}
