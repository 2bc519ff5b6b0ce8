// The table behind CprState: (name, id) -> fd in O(1), in the order of saving, without building a key per look-up.
//
// Name first: a dictionary gives the place of its part in one array that all names share (a string keeps its hash, so
// a look-up hashes nothing again). Then the id: a part is indexed by it, as long as ids are dense (interrupt vectors,
// or just 0). All other ids, negative or far apart, are in one hash table. docs/decisions/0002-fd-table.md says
// what else was tried, with figures.

import { dictionary, enlarged, entryFd, entryFields, entryId } from "./entries.ts";
import type { LoadedFds } from "./loaded-fds.ts";
import { SparseIndex } from "./sparse-index.ts";

/** An fd and the key it is kept under. `id` is signed, 32 bits. */
export interface FdEntry {
  readonly name: string;
  readonly id: number;
  readonly fd: number;
}

/** An entry as it goes on the wire. */
export interface FdRecord {
  /** Bytes of the name with its NUL. */
  namelen: number;
  name: string;
  id: number;
  fd: number;
}

/** Keys to fds. It knows nothing of rules: an id must be an s32, an fd one from -1 on. */
export class FdTable {
  readonly #checkNewName: (name: string) => void;
  /** Name -> where the slot of its id 0 is, or would be. */
  #parts = dictionary();
  /** By number of the name. */
  #names: string[] = [];
  /** Parts: a head (see below), then fd + 2 for each id, 0 where there is none. A look-up of a dense id needs no more. */
  #slots = new Int32Array(64);
  /** By slot: the entry. */
  #slotEntries = new Int32Array(64);
  #slotsUsed = 0;
  #sparse = new SparseIndex();
  /** Entries, oldest first: number of the name (-1: deleted), id, fd. */
  #entries = new Int32Array(entryFields * 32);
  #used = 0;
  #size = 0;
  /** What was added last: the next has its name mostly. */
  #lastName = "";
  #lastPart: number | undefined = undefined;

  /** `checkNewName` is called before the first entry of a name is added, and throws if it must not be. */
  constructor(checkNewName: (name: string) => void) {
    this.#checkNewName = checkNewName;
  }

  /** Entries in the table. */
  get size(): number {
    return this.#size;
  }

  /** The fd kept under the key, or undefined. */
  get(name: string, id: number): number | undefined {
    const part = this.#parts[name];
    return part === undefined ? undefined : this.#read(part, id);
  }

  /**
   * Takes over what was loaded, into an empty table. Of two entries with one key the first on the wire wins, as QEMU finds
   * it; the others are returned.
   */
  fill(loaded: LoadedFds): FdEntry[] {
    const { names, numbers, entries, count } = loaded;
    reverse(entries, count);
    // Each name has an entry, so each number makes way for the place of a part.
    this.#parts = numbers;
    this.#names = names;
    this.#entries = entries;
    this.#used = count;
    // As much as it comes to mostly; else it grows.
    const room = 64 + names.length * headFields + count * 2;
    this.#slots = new Int32Array(room);
    this.#slotEntries = new Int32Array(room);
    for (const name of names) this.#checkNewName(name);
    const parts = new Int32Array(names.length);
    const dropped: FdEntry[] = [];
    // Oldest first, as they were saved: ids of a name begin at 0 then, and find their slots.
    for (let entry = 0; entry < count; entry++) {
      const entryAt = entry * entryFields;
      const number = at(entries, entryAt);
      const name = names[number] as string;
      const id = at(entries, entryAt + entryId);
      let part = at(parts, number);
      if (part === 0) {
        part = this.#place(name, number);
      } else {
        const older = this.#read(part, id);
        if (older !== undefined) {
          dropped.push({ name, id, fd: older });
          this.#remove(part, id);
        }
      }
      parts[number] = this.#index(name, part, id, at(entries, entryAt + entryFd), entry);
      this.#size += 1;
    }
    // The empty name is the last one of a new table.
    this.#lastPart = this.#parts[this.#lastName];
    this.#rebuildIfSparse();
    // Once at the end: an unshift for each moves them all each time.
    return dropped.reverse();
  }

  /** Adds an entry as the newest. If the key is taken, nothing changes and the fd that is there is returned. */
  add(name: string, id: number, fd: number): number | undefined {
    let part = name === this.#lastName ? this.#lastPart : this.#parts[name];
    if (part === undefined) {
      part = this.#newPart(name);
    } else {
      const found = this.#read(part, id);
      if (found !== undefined) return found;
    }
    const entry = this.#used++;
    const entryAt = entry * entryFields;
    if (entryAt === this.#entries.length) this.#entries = enlarged(this.#entries, entryAt * 2);
    this.#entries[entryAt] = at(this.#slots, part - headNumber);
    this.#entries[entryAt + entryId] = id;
    this.#entries[entryAt + entryFd] = fd;
    this.#size += 1;
    this.#lastName = name;
    this.#lastPart = this.#index(name, part, id, fd, entry);
    return undefined;
  }

  /** Removes the entry; false if there is none. */
  delete(name: string, id: number): boolean {
    const part = this.#parts[name];
    if (part === undefined || (id | 0) !== id) return false;
    if (!this.#remove(part, id)) return false;
    this.#rebuildIfSparse();
    return true;
  }

  /** Calls `visit` for each entry, newest first, until it returns false; false if it did. The table must not change. */
  walk(visit: (name: string, id: number, fd: number) => boolean): boolean {
    const entries = this.#entries;
    for (let entryAt = (this.#used - 1) * entryFields; entryAt >= 0; entryAt -= entryFields) {
      const number = at(entries, entryAt);
      if (number < 0) continue;
      if (!visit(this.#names[number] as string, at(entries, entryAt + entryId), at(entries, entryAt + entryFd)))
        return false;
    }
    return true;
  }

  /**
   * As {@link walk}, for all entries, with one object that is filled anew for each. What `lengthOf` says of a name, it is
   * asked once, is `namelen`.
   */
  each(lengthOf: (name: string) => number, one: FdRecord, visit: (one: FdRecord, again: FdRecord) => void): void {
    const entries = this.#entries;
    const names = this.#names;
    const lengths = new Int32Array(names.length);
    for (let entryAt = (this.#used - 1) * entryFields; entryAt >= 0; entryAt -= entryFields) {
      const number = at(entries, entryAt);
      if (number < 0) continue;
      const name = names[number] as string;
      let length = at(lengths, number);
      if (length === 0) {
        length = lengthOf(name);
        lengths[number] = length;
      }
      one.namelen = length;
      one.name = name;
      one.id = at(entries, entryAt + entryId);
      one.fd = at(entries, entryAt + entryFd);
      visit(one, one);
    }
  }

  #read(part: number, id: number): number | undefined {
    // Another kind of id would read beside its slot.
    if ((id | 0) !== id) return undefined;
    const slots = this.#slots;
    if (id >= 0 && id < at(slots, part - headLength)) {
      const found = at(slots, part + id);
      if (found !== 0) return (found - 2) | 0;
    }
    if (at(slots, part - headSparse) === 0) return undefined;
    const entry = this.#sparse.find(at(slots, part - headNumber), id);
    return entry < 0 ? undefined : at(this.#entries, entry * entryFields + entryFd);
  }

  #newPart(name: string): number {
    this.#checkNewName(name);
    return this.#place(name, this.#names.push(name) - 1);
  }

  #place(name: string, number: number): number {
    const part = this.#slotsUsed + headFields;
    this.#useSlots(part);
    this.#slots[part - headNumber] = number;
    this.#parts[name] = part;
    return part;
  }

  /** Returns the part, which may have moved. */
  #index(name: string, part: number, id: number, fd: number, entry: number): number {
    const slots = this.#slots;
    const count = at(slots, part - headCount) + 1;
    slots[part - headCount] = count;
    const length = at(slots, part - headLength);
    if (id >= 0 && (id < length || id < count * 2)) {
      const to = id < length ? part : this.#widen(name, part, id);
      this.#slots[to + id] = fd + 2;
      this.#slotEntries[to + id] = entry;
      return to;
    }
    slots[part - headSparse] = at(slots, part - headSparse) + 1;
    this.#sparse.add(at(slots, part - headNumber), id, entry);
    return part;
  }

  /** Takes the key out of the index and empties its entry; false if there is none. */
  #remove(part: number, id: number): boolean {
    const entry = this.#unindex(part, id);
    if (entry < 0) return false;
    this.#entries[entry * entryFields] = -1;
    this.#slots[part - headCount] = at(this.#slots, part - headCount) - 1;
    this.#size -= 1;
    return true;
  }

  /** Takes the key out of the index and returns its entry, or -1. */
  #unindex(part: number, id: number): number {
    const slots = this.#slots;
    if (id >= 0 && id < at(slots, part - headLength)) {
      const slot = part + id;
      if (at(slots, slot) !== 0) {
        slots[slot] = 0;
        return at(this.#slotEntries, slot);
      }
    }
    const sparse = at(slots, part - headSparse);
    if (sparse === 0) return -1;
    const entry = this.#sparse.delete(at(slots, part - headNumber), id);
    if (entry >= 0) slots[part - headSparse] = sparse - 1;
    return entry;
  }

  /** Makes a part long enough for `id`: in place if nothing comes after it, else at the end of all. Returns it. */
  #widen(name: string, part: number, id: number): number {
    const length = at(this.#slots, part - headLength);
    const wanted = Math.max(id + 1, length * 2);
    let to = part;
    if (part + length === this.#slotsUsed) {
      this.#useSlots(part + wanted);
    } else {
      to = this.#slotsUsed + headFields;
      this.#useSlots(to + wanted);
      this.#slots.copyWithin(to - headFields, part - headFields, part + length);
      this.#slotEntries.copyWithin(to, part, part + length);
      this.#parts[name] = to;
    }
    this.#slots[to - headLength] = wanted;
    return to;
  }

  #useSlots(end: number): void {
    this.#slotsUsed = end;
    if (end <= this.#slots.length) return;
    const room = Math.max(end, this.#slots.length * 2);
    this.#slots = enlarged(this.#slots, room);
    this.#slotEntries = enlarged(this.#slotEntries, room);
  }

  /** When most entries were deleted: closes the gaps, and forgets names that have none any more. */
  #rebuildIfSparse(): void {
    if (this.#used <= 64 || this.#size >= this.#used >> 2) return;
    const names = this.#names;
    const entries = this.#entries;
    const used = this.#used;
    this.#parts = dictionary();
    this.#lastName = "";
    this.#lastPart = undefined;
    this.#names = [];
    this.#slots = new Int32Array(64);
    this.#slotEntries = new Int32Array(64);
    this.#slotsUsed = 0;
    this.#sparse = new SparseIndex();
    this.#entries = new Int32Array(entryFields * Math.max(32, this.#size));
    this.#used = 0;
    this.#size = 0;
    for (let entryAt = 0; entryAt < used * entryFields; entryAt += entryFields) {
      const number = at(entries, entryAt);
      if (number >= 0)
        this.add(names[number] as string, at(entries, entryAt + entryId), at(entries, entryAt + entryFd));
    }
  }
}

// A part's head, counted back from the slot of id 0: its number of slots, how many of its name's entries are in the
// sparse index, the number of the name, its entries in all.
const headLength = 1;
const headSparse = 2;
const headNumber = 3;
const headCount = 4;
const headFields = 4;

/** An element that is known to be there. */
function at(array: Int32Array, index: number): number {
  return array[index] as number;
}

/** Turns the order of the entries around. */
function reverse(entries: Int32Array, count: number): void {
  for (let low = 0, high = (count - 1) * entryFields; low < high; low += entryFields, high -= entryFields) {
    for (let field = 0; field < entryFields; field++) {
      const kept = at(entries, low + field);
      entries[low + field] = at(entries, high + field);
      entries[high + field] = kept;
    }
  }
}
