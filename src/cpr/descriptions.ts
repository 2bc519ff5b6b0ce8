// CprState on the wire, in both ABIs, written with the public fields of cprkit/vmstate. In memory it is a table
// either way; pre_save flattens it, post_load rebuilds it, as the reviewer of RFC V2 asked and QEMU 11.1 does.

// Each from its own file, here and in this whole folder: a cold start pays for every file that is loaded.
import { vmstate, vmstateOf } from "../vmstate/description.ts";
import { cstring } from "../vmstate/fields/buffers.ts";
import { fd } from "../vmstate/fields/fd.ts";
import { int32, uint32 } from "../vmstate/fields/integers.ts";
import { qlist } from "../vmstate/fields/lists.ts";
import { ghash } from "../vmstate/fields/trees.ts";
import { fdHash, fdList } from "./fd-lists.ts";
import { maxNameLength } from "./limits.ts";
import type { CprState } from "./state.ts";
import type { FdEntry } from "./table/fd-table.ts";
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

/** CprState with its fds as a list: QEMU 10.0 to 11.1. */
export const cprStateList = vmstateOf<LiveCprState>()({
  name: "CprState",
  version: 1,
  minimumVersion: 1,
  fields: { fds: qlist(cprFd, { version: 1, create: fdList, reuse: true }) },
  subsections: { vfioDevices: cprVfioDevices },
  preSave: (state) => {
    state.fds = fdList(state.live);
    state.vfioDevices = state.live.vfioDevices;
  },
  postLoad: (state) => {
    state.dropped = state.live.fill(state.fds.loaded);
    state.live.vfioDevices = state.vfioDevices;
  },
});

/** CprState with its fds as a hash table: RFC V2, never released. */
export const cprStateHash = vmstateOf<LiveCprState>()({
  name: "CprState",
  version: 1,
  minimumVersion: 1,
  fields: { fds: ghash({ version: 1, key: cprFdKey, value: cprFdValue, create: fdHash, reuse: true }) },
  subsections: { vfioDevices: cprVfioDevices },
  preSave: (state) => {
    state.fds = fdHash(state.live);
    state.vfioDevices = state.live.vfioDevices;
  },
  postLoad: (state) => {
    state.dropped = state.live.fill(state.fds.loaded);
    state.live.vfioDevices = state.vfioDevices;
  },
});
