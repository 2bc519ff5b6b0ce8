// Keyed collections: a count, then key and value of each entry, then an end byte.

import type { Description } from "../description.ts";
import { checkElement, elementLoader, elementSaver, entryCompiler, located } from "../engine.ts";
import { withRecipe } from "../recipes.ts";
import { type Field, misfit } from "../types.ts";
import type { Reader } from "../wire/reader.ts";
import type { Writer } from "../wire/writer.ts";
import { loadOne } from "./lists.ts";

/** What a hash field loads into and saves from. Every Map is one; so may be a table of your own. */
export interface KeyedTable<Key, Value> {
  readonly size: number;
  /** Calls `visit` for each entry, in the order to save them in. */
  forEach(visit: (value: Value, key: Key) => void): void;
  /** Adds an entry or replaces the one with an equal key, as g_hash_table_insert does. */
  set(key: Key, value: Value): unknown;
}

/** Options of {@link ghash} and {@link gtree}: the descriptions of a key and of a value. */
export interface TreeOptions<Key, Value> {
  /** QEMU's field.version_id: since when the field exists, and the version of keys and values. Default 0. */
  readonly version?: number;
  readonly key: Description<Key>;
  readonly value: Description<Value>;
}

/** A table of one's own in place of a Map. */
export interface OwnTable<Table> {
  /** Makes the table to load into; when the target holds one already, that one is filled. */
  readonly create: () => Table;
  /**
   * One key object and one value object for all entries, refilled for each: faster, for a table whose `set` copies
   * what it keeps. Default: new objects for each entry, which the table may keep.
   */
  readonly reuse?: boolean;
}

/** Options of {@link ghashDirectKey} and {@link gtreeDirectKey}: the description of a value. */
export type DirectKeyOptions<Value> = Omit<TreeOptions<never, Value>, "key">;

/**
 * A hash table with keys and values of their own descriptions (VMSTATE_GHASH_V of the RFC "migration: optimize cpr fd
 * lookup using GHashTable", V2). Sent in the table's own order, which a reader must not rely on.
 *
 * With `create`, loading fills a table of your own instead of a Map, for instance one that compares keys by content:
 * a Map knows an object key only by its identity. When the target holds a table already, that one is filled.
 */
export function ghash<Key, Value>(options: TreeOptions<Key, Value>): Field<Map<Key, Value>>;
/** As above, into a table of your own. */
export function ghash<Key, Value, Table extends KeyedTable<Key, Value>>(
  options: TreeOptions<Key, Value> & OwnTable<Table>,
): Field<Table>;
export function ghash<Key, Value>(
  options: TreeOptions<Key, Value> & Partial<OwnTable<KeyedTable<Key, Value>>>,
): Field<KeyedTable<Key, Value>> {
  const field = keyed("ghash", described(options), hashed(options));
  return options.create === undefined ? asMap(field, options, options.key) : field;
}

/** A hash table whose key is the 64-bit number itself (VMSTATE_GHASH_DIRECT_KEY_V). */
export function ghashDirectKey<Value>(options: DirectKeyOptions<Value>): Field<Map<bigint, Value>>;
/** As above, into a table of your own. */
export function ghashDirectKey<Value, Table extends KeyedTable<bigint, Value>>(
  options: DirectKeyOptions<Value> & OwnTable<Table>,
): Field<Table>;
export function ghashDirectKey<Value>(
  options: DirectKeyOptions<Value> & Partial<OwnTable<KeyedTable<bigint, Value>>>,
): Field<KeyedTable<bigint, Value>> {
  const field = keyed("ghash", direct(options), hashed(options));
  return options.create === undefined ? asMap(field, options, undefined) : field;
}

/**
 * A GTree with keys and values of their own descriptions (VMSTATE_GTREE_V), sent in ascending order of `compare`. An
 * equal key that comes again replaces the entry.
 */
export function gtree<Key, Value>(
  options: TreeOptions<Key, Value> & { readonly compare: (a: Key, b: Key) => number },
): Field<Map<Key, Value>> {
  return keyed("gtree", described(options), sorted(options.compare));
}

/** A GTree whose key is the 64-bit number itself (VMSTATE_GTREE_DIRECT_KEY_V), sent in ascending order. */
export function gtreeDirectKey<Value>(options: DirectKeyOptions<Value>): Field<Map<bigint, Value>> {
  return keyed("gtree", direct(options), sorted(ascending));
}

function asMap<Key, Value>(
  field: Field<KeyedTable<Key, Value>>,
  { version = 0, value }: DirectKeyOptions<Value>,
  key: Description<Key> | undefined,
): Field<KeyedTable<Key, Value>> {
  return withRecipe({ kind: "hash", key, value, version }, field);
}

interface Entries<Key, Value> {
  readonly version: number;
  readonly value: Description<Value>;
  readonly key: Description<Key> | undefined;
  /** Made for each load or save: what is the same for all keys is done once. */
  readonly keyLoader: (reuse: boolean) => (reader: Reader) => Key;
  readonly keySaver: () => (writer: Writer, key: Key) => void;
}

function described<Key, Value>({ version = 0, key, value }: TreeOptions<Key, Value>): Entries<Key, Value> {
  return {
    version,
    value,
    key,
    keyLoader: (reuse) => {
      const loader = elementLoader(key, version);
      const target = reuse ? loader.reusable : undefined;
      return (reader) => loadOne(reader, loader, "key", target);
    },
    keySaver: () => namedSaver(key),
  };
}

function direct<Value>({ version = 0, value }: DirectKeyOptions<Value>): Entries<bigint, Value> {
  return {
    version,
    value,
    key: undefined,
    keyLoader: () => (reader) => {
      reader.observer?.enter("key", "uint64", reader.offset);
      const key = reader.uint64();
      reader.observer?.leave(reader.offset, key);
      return key;
    },
    keySaver: () => (writer, key) => {
      if (typeof key !== "bigint" || BigInt.asUintN(64, key) !== key)
        throw misfit("a bigint key from 0 to 2^64-1", key);
      writer.uint64(key);
    },
  };
}

/** How a collection keeps its entries: what loading fills, what becomes of it, in which order it is saved. */
interface Keeping<Key, Value, Table> {
  /** Keys and values may be loaded into the same objects again and again: the table copies what it keeps. */
  readonly reuses: boolean;
  readonly begin: (current: Table | undefined) => Table;
  readonly end: (table: Table) => Table;
  readonly each: (table: Table, visit: (value: Value, key: Key) => void) => void;
}

function hashed<Key, Value>({
  create,
  reuse = false,
}: Partial<OwnTable<KeyedTable<Key, Value>>>): Keeping<Key, Value, KeyedTable<Key, Value>> {
  return {
    // A Map keeps what it is given.
    reuses: reuse && create !== undefined,
    begin: (current) => current ?? create?.() ?? new Map(),
    end: (table) => table,
    each: (table, visit) => table.forEach(visit),
  };
}

function sorted<Key, Value>(compare: (a: Key, b: Key) => number): Keeping<Key, Value, Map<Key, Value>> {
  const sort = (table: Map<Key, Value>) => [...table].sort((a, b) => compare(a[0], b[0]));
  return {
    reuses: false,
    begin: () => new Map(),
    // The sort is stable: of equal keys the one that came last stays last, and wins.
    end: (table) =>
      new Map(
        sort(table).filter(
          ([key], at, all) => at + 1 === all.length || compare(key, (all[at + 1] as [Key, Value])[0]) !== 0,
        ),
      ),
    each: (table, visit) => {
      for (const [key, value] of sort(table)) visit(value, key);
    },
  };
}

function keyed<Key, Value, Table extends KeyedTable<Key, Value>>(
  type: string,
  entries: Entries<Key, Value>,
  keeping: Keeping<Key, Value, Table>,
): Field<Table> {
  const { version, value: valueDescription, key: keyDescription } = entries;
  checkElement(valueDescription, version);
  if (keyDescription !== undefined) checkElement(keyDescription, version);
  const compiledFor = entryCompiler(
    keyDescription === undefined
      ? []
      : [
          { description: keyDescription, version },
          { description: valueDescription, version },
        ],
  );
  return {
    type,
    version,
    minimum: 5,
    // QEMU's order: index 0 is the value, index 1 the key.
    descriptions: keyDescription === undefined ? [valueDescription] : [valueDescription, keyDescription],
    load: (reader, current) => {
      const count = readCount(reader);
      const table = keeping.begin(current);
      // An observer may keep what it is shown.
      const reuse = keeping.reuses && reader.observer === undefined;
      const loadKey = entries.keyLoader(reuse);
      const valueLoader = elementLoader(valueDescription, version);
      const target = reuse ? valueLoader.reusable : undefined;
      const loadEntry = reuse ? compiledFor(reader).load : undefined;
      const keyTarget =
        reuse && keyDescription !== undefined ? elementLoader(keyDescription, version).reusable : undefined;
      let at = 0;
      try {
        if (loadEntry !== undefined && target !== undefined && keyTarget !== undefined)
          for (; at < count && loadEntry(reader, keyTarget, target); at++) table.set(keyTarget as Key, target as Value);
        for (; reader.flag('"one more entry" or the table\'s end'); at++) {
          if (at === count)
            throw reader.error("ERR_COUNT", `the stream announced ${count} entries, and here begins one more`, 1);
          reader.observer?.enter(at, "entry", reader.offset);
          const key = loadKey(reader);
          const value = loadOne(reader, valueLoader, "value", target);
          reader.observer?.leave(reader.offset, value);
          table.set(key, value);
        }
      } catch (error) {
        throw located(error, at);
      }
      if (at !== count)
        throw reader.error("ERR_COUNT", `the stream announced ${count} entries, but ends after ${at}`, 1);
      return keeping.end(table);
    },
    save: (writer, table) => {
      if (typeof table?.size !== "number" || typeof table.forEach !== "function")
        throw misfit("a Map or a table like it", table);
      writer.uint32(table.size);
      const saveKey = entries.keySaver();
      const saveValue = namedSaver(valueDescription);
      const saveEntry = compiledFor(writer).save;
      let at = 0;
      try {
        keeping.each(table, (value, key) => {
          if (saveEntry?.(writer, key as Target, value as Target) !== true) {
            writer.uint8(1);
            saveKey(writer, key);
            saveValue(writer, value);
          }
          at++;
        });
      } catch (error) {
        throw located(error, at);
      }
      if (at !== table.size) throw misfit(`${table.size} entries, as the table's size says`, at);
      writer.uint8(0);
    },
  };
}

type Target = Record<string, unknown>;

/** A count that the rest of the input can hold: each entry takes a byte at least. */
function readCount(reader: Reader): number {
  const count = reader.uint32();
  if (count > reader.remaining) {
    throw reader.error(
      "ERR_COUNT",
      `the stream announces ${count} entries, but only ${reader.remaining} bytes follow`,
      4,
    );
  }
  return count;
}

function namedSaver<State>(description: Description<State>): (writer: Writer, state: State) => void {
  const saveElement = elementSaver(description);
  return (writer, state) => {
    try {
      saveElement(writer, state);
    } catch (error) {
      throw located(error, description.name);
    }
  };
}

function ascending(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
