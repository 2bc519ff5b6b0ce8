// The structures that were tried for the fd table (docs/decisions/0002-fd-table.md). Each has
// get(name, id) -> fd or -1, and add(name, id, fd) for an absent key. Deleting is left out: it decides nothing.

/** One Map; the key is built for every look-up. */
export class ConcatenatedKey {
  #map = new Map();
  get(name, id) {
    return this.#map.get(`${name}\0${id}`) ?? -1;
  }
  add(name, id, fd) {
    this.#map.set(`${name}\0${id}`, fd);
  }
}

/** Name -> Map of id -> fd. */
export class NestedMap {
  #byName = new Map();
  get(name, id) {
    return this.#byName.get(name)?.get(id) ?? -1;
  }
  add(name, id, fd) {
    let ids = this.#byName.get(name);
    if (ids === undefined) {
      ids = new Map();
      this.#byName.set(name, ids);
    }
    ids.set(id, fd);
  }
}

/** Id -> Map of name -> fd: no better, most ids are 0. */
export class NestedById {
  #byId = new Map();
  get(name, id) {
    return this.#byId.get(id)?.get(name) ?? -1;
  }
  add(name, id, fd) {
    let names = this.#byId.get(id);
    if (names === undefined) {
      names = new Map();
      this.#byId.set(id, names);
    }
    names.set(name, fd);
  }
}

/** Name -> an array by id where ids are dense, a Map for the others; -> entry -> fd. */
export class DenseById {
  #byName = new Map();
  #fds = [];
  get(name, id) {
    const ids = this.#byName.get(name);
    if (ids === undefined) return -1;
    const at = ids.dense[id];
    if (at !== undefined && at >= 0) return this.#fds[at];
    const sparse = ids.sparse.get(id);
    return sparse === undefined ? -1 : this.#fds[sparse];
  }
  add(name, id, fd) {
    let ids = this.#byName.get(name);
    if (ids === undefined) {
      ids = { dense: new Int32Array(0), sparse: new Map(), count: 0 };
      this.#byName.set(name, ids);
    }
    const at = this.#fds.push(fd) - 1;
    ids.count += 1;
    if (id >= 0 && id < ids.count * 2 + 8) {
      if (id >= ids.dense.length) {
        const dense = new Int32Array(Math.max(id + 1, ids.dense.length * 2, 8)).fill(-1);
        dense.set(ids.dense);
        ids.dense = dense;
      }
      ids.dense[id] = at;
    } else {
      ids.sparse.set(id, at);
    }
  }
}

const salt = (Math.random() * 2 ** 32) | 0;
const factor = (Math.random() * 2 ** 32) | 0 | 1;

/** Numbers for names from `numberOf`; (number, id) -> entry in one table with open addressing; entry -> fd. */
export class OpenAddressing {
  #numbers = new Map();
  #slots = new Int32Array(32).fill(-1);
  #entries = new Int32Array(64);
  #mask = 31;
  #shift = 27;
  #used = 0;
  get(name, id) {
    const number = this.#numbers.get(name);
    if (number === undefined) return -1;
    const slots = this.#slots;
    const entries = this.#entries;
    const mask = this.#mask;
    let slot = Math.imul(Math.imul(number, 0x9e3779b1) ^ id ^ salt, factor) >>> this.#shift;
    for (;;) {
      const at = slots[slot];
      if (at < 0) return -1;
      if (entries[at * 4] === number && entries[at * 4 + 1] === id) return entries[at * 4 + 2];
      slot = (slot + 1) & mask;
    }
  }
  add(name, id, fd) {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(name, number);
    }
    const at = this.#used++;
    if (at * 4 === this.#entries.length) {
      const entries = new Int32Array(at * 8);
      entries.set(this.#entries);
      this.#entries = entries;
    }
    this.#entries[at * 4] = number;
    this.#entries[at * 4 + 1] = id;
    this.#entries[at * 4 + 2] = fd;
    if (this.#used * 2 > this.#slots.length) this.#widen();
    else this.#put(at);
  }
  #put(at) {
    const number = this.#entries[at * 4];
    const id = this.#entries[at * 4 + 1];
    let slot = Math.imul(Math.imul(number, 0x9e3779b1) ^ id ^ salt, factor) >>> this.#shift;
    while (this.#slots[slot] >= 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = at;
  }
  #widen() {
    this.#slots = new Int32Array(this.#slots.length * 2).fill(-1);
    this.#mask = this.#slots.length - 1;
    this.#shift -= 1;
    for (let at = 0; at < this.#used; at++) this.#put(at);
  }
}

/** As OpenAddressing, with number, id and fd in the slot itself: one cache line a look-up. */
export class OpenAddressingInline {
  #numbers = new Map();
  #slots = new Int32Array(32 * 4);
  #mask = 31;
  #shift = 27;
  #used = 0;
  get(name, id) {
    const number = this.#numbers.get(name);
    if (number === undefined) return -1;
    const slots = this.#slots;
    const mask = this.#mask;
    let slot = Math.imul(Math.imul(number, 0x9e3779b1) ^ id ^ salt, factor) >>> this.#shift;
    for (;;) {
      const at = slot * 4;
      const found = slots[at];
      if (found === number && slots[at + 1] === id) return slots[at + 2];
      if (found === 0) return -1;
      slot = (slot + 1) & mask;
    }
  }
  add(name, id, fd) {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#numbers.size + 1;
      this.#numbers.set(name, number);
    }
    this.#used += 1;
    if (this.#used * 2 > this.#mask) this.#widen();
    this.#put(number, id, fd, this.#used);
  }
  #put(number, id, fd, entry) {
    const slots = this.#slots;
    let slot = Math.imul(Math.imul(number, 0x9e3779b1) ^ id ^ salt, factor) >>> this.#shift;
    while (slots[slot * 4] !== 0) slot = (slot + 1) & this.#mask;
    slots[slot * 4] = number;
    slots[slot * 4 + 1] = id;
    slots[slot * 4 + 2] = fd;
    slots[slot * 4 + 3] = entry;
  }
  #widen() {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    this.#mask = this.#slots.length / 4 - 1;
    this.#shift -= 1;
    for (let at = 0; at < old.length; at += 4) {
      if (old[at] !== 0) this.#put(old[at], old[at + 1], old[at + 2], old[at + 3]);
    }
  }
}

/** Name -> a place in one array that all names share, by id; ids that are not dense go into a Map. */
export class SharedArena {
  #numbers = new Map();
  /** start and length of each name's part. */
  #parts = new Int32Array(64);
  #arena = new Int32Array(1024);
  #end = 0;
  #sparse = new Map();
  get(name, id) {
    const number = this.#numbers.get(name);
    if (number === undefined) return -1;
    if (id >= 0 && id < this.#parts[number * 2 + 1]) {
      const fd = this.#arena[this.#parts[number * 2] + id];
      if (fd !== 0) return fd - 1;
    }
    return this.#sparse.get(number)?.get(id) ?? -1;
  }
  add(name, id, fd) {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(name, number);
      if (number * 2 === this.#parts.length) this.#parts = enlarged(this.#parts, number * 4);
    }
    const length = this.#parts[number * 2 + 1];
    if (id >= 0 && id < length * 2 + 4) {
      if (id >= length) this.#widen(number, Math.max(1, id + 1, length * 2));
      this.#arena[this.#parts[number * 2] + id] = fd + 1;
    } else {
      if (!this.#sparse.has(number)) this.#sparse.set(number, new Map());
      this.#sparse.get(number).set(id, fd);
    }
  }
  #widen(number, length) {
    const start = this.#parts[number * 2];
    const had = this.#parts[number * 2 + 1];
    while (this.#end + length > this.#arena.length) this.#arena = enlarged(this.#arena, this.#arena.length * 2);
    this.#arena.copyWithin(this.#end, start, start + had);
    this.#parts[number * 2] = this.#end;
    this.#parts[number * 2 + 1] = length;
    this.#end += length;
  }
}

/** As OpenAddressingInline, with names as keys of an object: V8 makes each name unique (internalized) first. */
export class ObjectNames {
  #numbers = Object.create(null);
  #count = 0;
  #inner = new OpenAddressingById();
  constructor() {
    // Deleting turns it into a dictionary.
    this.#numbers.x = 0;
    delete this.#numbers.x;
  }
  get(name, id) {
    const number = this.#numbers[name];
    return number === undefined ? -1 : this.#inner.get(number, id);
  }
  add(name, id, fd) {
    let number = this.#numbers[name];
    if (number === undefined) {
      number = ++this.#count;
      this.#numbers[name] = number;
    }
    this.#inner.add(number, id, fd);
  }
}

/** Name -> pair of numbers, hashed by hand over its characters; no Map at all. */
export class OwnStringHash {
  #names = [""];
  #slots = new Int32Array(64);
  #mask = 63;
  #inner = new OpenAddressingById();
  #number(name) {
    let hash = salt;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    hash ^= hash >>> 15;
    let slot = hash & this.#mask;
    for (;;) {
      const number = this.#slots[slot];
      if (number === 0) return -slot;
      if (this.#names[number] === name) return number;
      slot = (slot + 1) & this.#mask;
    }
  }
  get(name, id) {
    const number = this.#number(name);
    return number <= 0 ? -1 : this.#inner.get(number, id);
  }
  add(name, id, fd) {
    let number = this.#number(name);
    if (number <= 0) {
      const slot = -number;
      number = this.#names.push(name) - 1;
      this.#slots[slot] = number;
      if (number * 2 > this.#mask) this.#widen();
    }
    this.#inner.add(number, id, fd);
  }
  #widen() {
    this.#slots = new Int32Array(this.#slots.length * 2);
    this.#mask = this.#slots.length - 1;
    for (let number = 1; number < this.#names.length; number++)
      this.#slots[-this.#number(this.#names[number])] = number;
  }
}

class OpenAddressingById {
  #slots = new Int32Array(32 * 4);
  #mask = 31;
  #shift = 27;
  #used = 0;
  get(number, id) {
    const slots = this.#slots;
    let slot = Math.imul(Math.imul(number, 0x9e3779b1) ^ id ^ salt, factor) >>> this.#shift;
    for (;;) {
      const at = slot * 4;
      const found = slots[at];
      if (found === number && slots[at + 1] === id) return slots[at + 2];
      if (found === 0) return -1;
      slot = (slot + 1) & this.#mask;
    }
  }
  add(number, id, fd) {
    this.#used += 1;
    if (this.#used * 2 > this.#mask) {
      const old = this.#slots;
      this.#slots = new Int32Array(old.length * 2);
      this.#mask = this.#slots.length / 4 - 1;
      this.#shift -= 1;
      for (let at = 0; at < old.length; at += 4) if (old[at] !== 0) this.#put(old[at], old[at + 1], old[at + 2]);
    }
    this.#put(number, id, fd);
  }
  #put(number, id, fd) {
    const slots = this.#slots;
    let slot = Math.imul(Math.imul(number, 0x9e3779b1) ^ id ^ salt, factor) >>> this.#shift;
    while (slots[slot * 4] !== 0) slot = (slot + 1) & this.#mask;
    slots[slot * 4] = number;
    slots[slot * 4 + 1] = id;
    slots[slot * 4 + 2] = fd;
  }
}

function enlarged(array, length) {
  const larger = new Int32Array(length);
  larger.set(array);
  return larger;
}
