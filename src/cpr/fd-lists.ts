// What the two ABIs load into and save from, so that no entry is copied on the way: saving walks the table, loading
// keeps numbers aside, which post_load puts into the table.

import type { KeyedTable, ListTable, StateOf } from "../vmstate/index.ts";
import { textLength } from "../vmstate/wire/text.ts";
import type { cprFd, cprFdKey, cprFdValue } from "./elements.ts";
import type { CprState } from "./state.ts";
import { type LoadedFds, loadedFds, pushFd } from "./table/loaded-fds.ts";

/** The fds of the list ABI. */
export interface FdList extends ListTable<StateOf<typeof cprFd>> {
  readonly loaded: LoadedFds;
}

/** To load into; with `source`, to save from. */
export function fdList(source?: CprState): FdList {
  const loaded = loadedFds();
  return {
    loaded,
    push: ({ name, id, fd }) => pushFd(loaded, name, id, fd),
    forEach: (visit) => {
      const one = { namelen: 0, name: "", id: 0, fd: 0 };
      source?.eachFd(wireLength, one, visit);
    },
  };
}

/** The fds of the hash ABI, in the order of the wire, so that saving gives it back. */
export interface FdHash extends KeyedTable<StateOf<typeof cprFdKey>, StateOf<typeof cprFdValue>> {
  readonly loaded: LoadedFds;
}

/** As {@link fdList}. */
export function fdHash(source?: CprState): FdHash {
  const loaded = loadedFds();
  return {
    loaded,
    get size() {
      return source?.size ?? loaded.count;
    },
    set: ({ name, id }, { fd }) => pushFd(loaded, name, id, fd),
    forEach: (visit) => {
      // Key and value each take the fields that are theirs.
      const one = { namelen: 0, name: "", id: 0, fd: 0 };
      source?.eachFd(wireLength, one, visit);
    },
  };
}

/** Bytes of a name with its NUL. */
function wireLength(name: string): number {
  return textLength(name) + 1;
}
