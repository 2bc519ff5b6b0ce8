// CprState on the wire, in both ABIs, written with the public fields of cprkit/vmstate. In memory it is a table
// either way; pre_save flattens it, post_load rebuilds it, as the reviewer of RFC V2 asked and QEMU 11.1 does.

import {
  cstring,
  fd,
  ghash,
  int32,
  type KeyedTable,
  qlist,
  type StateOf,
  textLength,
  uint32,
  vmstate,
  vmstateOf,
} from "../vmstate/index.ts";
import type { FdEntry } from "./fd-table.ts";
import { maxNameLength } from "./limits.ts";
import type { CprState } from "./state.ts";
import { cprVfioDevices } from "./vfio.ts";

/** The live table behind a description, and the duplicates that loading left out. */
export interface LiveCprState {
  readonly live: CprState;
  dropped?: readonly FdEntry[];
}

/** An element of the list ABI (QEMU 10.0 migration/cpr.c). */
export const cprFd = vmstate({
  name: "cpr fd",
  version: 1,
  minimumVersion: 1,
  fields: { namelen: uint32(), name: cstring("namelen", maxNameLength), id: int32(), fd: fd() },
});

/** A key of the hash ABI (RFC V2). */
export const cprFdKey = vmstate({
  name: "cpr-fd-key",
  version: 1,
  minimumVersion: 1,
  fields: { namelen: uint32(), name: cstring("namelen", maxNameLength), id: int32() },
});

/** A value of the hash ABI (RFC V2). */
export const cprFdValue = vmstate({ name: "cpr-fd-value", version: 1, minimumVersion: 1, fields: { fd: fd() } });

type Key = StateOf<typeof cprFdKey>;
type Value = StateOf<typeof cprFdValue>;

/** CprState with its fds as a list: QEMU 10.0 to 11.1. */
export const cprStateList = vmstateOf<LiveCprState>()({
  name: "CprState",
  version: 1,
  minimumVersion: 1,
  fields: { fds: qlist(cprFd, { version: 1 }) },
  subsections: { vfioDevices: cprVfioDevices },
  preSave: (state) => {
    state.fds = state.live.entries().map(({ name, id, fd }) => ({ namelen: textLength(name) + 1, name, id, fd }));
    state.vfioDevices = state.live.vfioDevices;
  },
  postLoad: (state) => {
    state.dropped = state.live.fill(state.fds);
    state.live.vfioDevices = state.vfioDevices;
  },
});

/** CprState with its fds as a hash table: RFC V2, never released. */
export const cprStateHash = vmstateOf<LiveCprState>()({
  name: "CprState",
  version: 1,
  minimumVersion: 1,
  fields: { fds: ghash({ version: 1, key: cprFdKey, value: cprFdValue, create: pairs }) },
  subsections: { vfioDevices: cprVfioDevices },
  preSave: (state) => {
    state.fds = pairs();
    for (const { name, id, fd } of state.live) state.fds.set({ namelen: textLength(name) + 1, name, id }, { fd });
    state.vfioDevices = state.live.vfioDevices;
  },
  postLoad: (state) => {
    state.dropped = state.live.fill([...state.fds].map(([{ name, id }, { fd }]) => ({ name, id, fd })));
    state.live.vfioDevices = state.vfioDevices;
  },
});

/** Keys and values in the order of the wire, so that saving gives it back. */
function pairs(): KeyedTable<Key, Value> {
  const all: (readonly [Key, Value])[] = [];
  return {
    get size() {
      return all.length;
    },
    set: (key, value) => all.push([key, value]),
    [Symbol.iterator]: () => all.values(),
  };
}
