// The cases of the fd table: finding, missing, saving and deleting, in CprState and in a linked list.

import { CprState } from "cprkit/cpr";
import type { FdKey } from "../../dist/cli/demo/names.js";
import { benchKeys, lookUpOrder, ownString } from "./keys.ts";
import { type Measured, type Timed, timed, type Work } from "./measured.ts";

type Find = (name: string, id: number) => number;

/** What is asked for, laid out in the order of asking. */
interface Query {
  readonly names: readonly string[];
  readonly ids: Int32Array;
}

/** The same queries for both tables; `order` undefined: the order of saving. */
export function findWork(n: number, kind: "list" | "hash", what: "shuffled" | "in order" | "fresh" | "miss"): Work {
  const keys = benchKeys(n);
  const find = kind === "hash" ? findInState(keys) : findInList(keys);
  const order = what === "in order" ? Uint32Array.from({ length: n }, (_, at) => at) : lookUpOrder(n);
  const passes = passesOf(n);
  const ops = n * passes;
  if (what === "fresh") return { ops, round: freshRound(find, keys, order, passes) };
  const { names, ids } = what === "miss" ? missing(keys, order) : asked(keys, order);
  return {
    ops,
    round: () =>
      timed(() => {
        let check = 0;
        for (let pass = 0; pass < passes; pass++) {
          check = 0;
          for (let at = 0; at < n; at++) {
            check = (Math.imul(check, 31) + find(names[at] as string, ids[at] as number)) | 0;
          }
        }
        return check;
      }),
  };
}

/** Each round goes over at least this many fds, as in the C peers. */
function passesOf(n: number): number {
  return Math.max(1, Math.floor(20_000 / n));
}

function asked(keys: readonly FdKey[], order: Uint32Array): Query {
  return {
    names: Array.from(order, (at) => ownString((keys[at] as FdKey).name)),
    ids: Int32Array.from(order, (at) => (keys[at] as FdKey).id),
  };
}

/** By turns a known name with an id it hasn't, and a name that is not known. */
function missing(keys: readonly FdKey[], order: Uint32Array): Query {
  const { names, ids } = asked(keys, order);
  return {
    names: names.map((name, at) => (at % 2 === 0 ? name : ownString(`${name}?`))),
    ids: ids.map((id, at) => (at % 2 === 0 ? id ^ 0x4000_0000 : id)),
  };
}

/** The name is put together for each look-up, from a device's name and the rest. */
function freshRound(find: Find, keys: readonly FdKey[], order: Uint32Array, passes: number): () => Timed {
  const { names, ids } = asked(keys, order);
  const { devices, rests } = parts(names);
  return () =>
    timed(() => {
      let check = 0;
      for (let pass = 0; pass < passes; pass++) {
        check = 0;
        for (let at = 0; at < names.length; at++) {
          check = (Math.imul(check, 31) + find((devices[at] as string) + (rests[at] as string), ids[at] as number)) | 0;
        }
      }
      return check;
    });
}

/** Names cut as the C peers cut them, each part one string. */
function parts(names: readonly string[]): {
  readonly devices: readonly string[];
  readonly rests: readonly string[];
} {
  const known = new Map<string, string>();
  const one = (text: string) => {
    const found = known.get(text) ?? ownString(text);
    known.set(text, found);
    return found;
  };
  const cuts = names.map((name) => Math.max(name.includes("_") ? name.lastIndexOf("_") : name.lastIndexOf("/"), 0));
  return {
    devices: names.map((name, at) => one(name.slice(0, cuts[at]))),
    rests: names.map((name, at) => one(name.slice(cuts[at]))),
  };
}

function stateOf(keys: readonly FdKey[]): CprState {
  const state = new CprState();
  for (const [fd, { name, id }] of keys.entries()) state.saveFd(name, id, fd);
  return state;
}

function findInState(keys: readonly FdKey[]): Find {
  const state = stateOf(keys);
  return (name, id) => state.findFd(name, id);
}

interface ListNode {
  readonly name: string;
  readonly id: number;
  readonly fd: number;
  readonly next: ListNode | undefined;
}

/** As QEMU up to 11.0 keeps them: new ones at the head. */
function findInList(keys: readonly FdKey[]): Find {
  let head: ListNode | undefined;
  for (const [fd, { name, id }] of keys.entries()) head = { name, id, fd, next: head };
  return (name, id) => {
    for (let node = head; node !== undefined; node = node.next) {
      if (node.name === name && node.id === id) return node.fd;
    }
    return -1;
  };
}

/** Only the saves, or only the deletes, are in the time; each pass has a fresh table. */
export function changeWork(n: number, what: "save" | "delete"): Work {
  const keys = benchKeys(n);
  const saved = asked(
    keys,
    Uint32Array.from({ length: n }, (_, at) => at),
  );
  const deleted = asked(keys, lookUpOrder(n));
  const passes = passesOf(n);
  const saveAll = (state: CprState) => {
    for (let at = 0; at < n; at++) state.saveFd(saved.names[at] as string, saved.ids[at] as number, at);
    return state.size;
  };
  const deleteAll = (state: CprState) => {
    let count = 0;
    for (let at = 0; at < n; at++) {
      if (state.deleteFd(deleted.names[at] as string, deleted.ids[at] as number)) count++;
    }
    return count;
  };
  return {
    ops: n * passes,
    round: () => {
      let ns = 0;
      let check = 0;
      for (let pass = 0; pass < passes; pass++) {
        const state = new CprState();
        if (what === "delete") saveAll(state);
        const one = timed(() => (what === "save" ? saveAll(state) : deleteAll(state)));
        ns += one.ns;
        check = one.check;
      }
      return { ns, check };
    },
  };
}

/**
 * What the table holds on to an fd: heap and array buffers, and resident memory. Every name is a string of its own that
 * nobody else keeps, as a device makes it. Needs --expose-gc.
 */
export function tableMemory(name: string, n: number): Measured {
  const collect = globalThis.gc;
  if (collect === undefined) throw new Error("memory is measured with --expose-gc only");
  const keys = benchKeys(n);
  const { devices, rests } = parts(keys.map((key) => key.name));
  const fill = (): CprState => {
    const state = new CprState();
    for (let at = 0; at < n; at++) {
      state.saveFd((devices[at] as string) + (rests[at] as string), (keys[at] as FdKey).id, at);
    }
    return state;
  };
  // What the code itself takes is there already; that of a large table is given back before the count.
  for (let warm = 0; warm < 20; warm++) fill();
  // Small tables are below what the engine's own bookkeeping moves: count many.
  const copies = Math.max(1, Math.round(100_000 / n));
  const held: CprState[] = [];
  collect();
  collect();
  const before = process.memoryUsage();
  for (let copy = 0; copy < copies; copy++) held.push(fill());
  collect();
  collect();
  const after = process.memoryUsage();
  const fds = copies * n;
  if (held.reduce((sum, { size }) => sum + size, 0) !== fds) throw new Error("fds were lost");
  return {
    case: name,
    n,
    check: n,
    bytes_per_fd: (after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers) / fds,
    rss_bytes_per_fd: (after.rss - before.rss) / fds,
  };
}

/**
 * The destination's part of a live update: N look-ups, once each, names rebuilt, in the order of the devices, in
 * a process that has done nothing else: no code is compiled yet.
 */
export function startWork(n: number, kind: "list" | "hash"): Timed {
  const keys = benchKeys(n);
  const { devices, rests } = parts(keys.map(({ name }) => name));
  const find = kind === "hash" ? findInState(keys) : findInList(keys);
  return timed(() => {
    let check = 0;
    for (let at = 0; at < n; at++) {
      const found = find((devices[at] as string) + (rests[at] as string), (keys[at] as FdKey).id);
      check = (Math.imul(check, 31) + found) | 0;
    }
    return check;
  });
}
