// CprState on the wire, in both ABIs, written with the public fields of cprkit/vmstate. In memory it is a table
// either way; pre_save flattens it, post_load rebuilds it, as the reviewer of RFC V2 asked and QEMU 11.1 does.

// Each from its own file, here and in this whole folder: a cold start pays for every file that is loaded.
import { vmstateOf } from "../vmstate/description.ts";
import { qlist } from "../vmstate/fields/lists.ts";
import { ghash } from "../vmstate/fields/trees.ts";
import { cprFd, cprFdKey, cprFdValue } from "./elements.ts";
import { fdHash, fdList } from "./fd-lists.ts";
import type { CprState } from "./state.ts";
import type { FdEntry } from "./table/fd-table.ts";
import { cprVfioDevices } from "./vfio.ts";

/** The live table behind a description, and the duplicates that loading left out. */
export interface LiveCprState {
  readonly live: CprState;
  dropped?: readonly FdEntry[];
}

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
