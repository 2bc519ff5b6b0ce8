// What the two ABIs load into and save from, so that no entry is copied on the way: saving walks the table, loading
// keeps three columns aside, which post_load puts into the table.

import type { KeyedTable, ListTable, StateOf } from "../vmstate/index.ts";
import { textLength } from "../vmstate/wire/text.ts";
import type { cprFd, cprFdKey, cprFdValue } from "./elements.ts";
import type { CprState } from "./state.ts";
import type { FdColumns } from "./table/columns.ts";

/** The fds of the list ABI. */
export interface FdList extends ListTable<StateOf<typeof cprFd>> {
  readonly loaded: FdColumns;
}

/** To load into; with `source`, to save from. */
export function fdList(source?: CprState): FdList {
  const loaded = columns();
  return {
    loaded,
    push: ({ name, id, fd }) => push(loaded, name, id, fd),
    forEach: (visit) => {
      const lengthOf = lengths();
      const one = { namelen: 0, name: "", id: 0, fd: 0 };
      source?.eachFd((name, id, fd) => {
        one.namelen = lengthOf(name);
        one.name = name;
        one.id = id;
        one.fd = fd;
        visit(one);
      });
    },
  };
}

/** The fds of the hash ABI, in the order of the wire, so that saving gives it back. */
export interface FdHash extends KeyedTable<StateOf<typeof cprFdKey>, StateOf<typeof cprFdValue>> {
  readonly loaded: FdColumns;
}

/** As {@link fdList}. */
export function fdHash(source?: CprState): FdHash {
  const loaded = columns();
  return {
    loaded,
    get size() {
      return source?.size ?? loaded.names.length;
    },
    set: ({ name, id }, { fd }) => push(loaded, name, id, fd),
    forEach: (visit) => {
      const lengthOf = lengths();
      const key = { namelen: 0, name: "", id: 0 };
      const value = { fd: 0 };
      source?.eachFd((name, id, fd) => {
        key.namelen = lengthOf(name);
        key.name = name;
        key.id = id;
        value.fd = fd;
        visit(value, key);
      });
    },
  };
}

function columns(): FdColumns {
  return { names: [], ids: [], fds: [] };
}

function push({ names, ids, fds }: FdColumns, name: string, id: number, fd: number): void {
  names.push(name);
  ids.push(id);
  fds.push(fd);
}

/** Bytes of a name with its NUL; neighbours often share a name. */
function lengths(): (name: string) => number {
  const names = new Array<string>(knownNames).fill("");
  const known = new Array<number>(knownNames).fill(1);
  return (name) => {
    const slot = name.length & (knownNames - 1);
    if (names[slot] === name) return known[slot] as number;
    const length = textLength(name) + 1;
    names[slot] = name;
    known[slot] = length;
    return length;
  };
}

/** A power of two. */
const knownNames = 16;
