// Descriptions of what a stream does not describe itself, or only after it was read.

import { describe, type StateOf, vmstate } from "../../vmstate/description.ts";
import { array, varray } from "../../vmstate/fields/arrays.ts";
import { buffer, vbuffer } from "../../vmstate/fields/buffers.ts";
import { capability } from "../../vmstate/fields/counted.ts";
import { uint8, uint32 } from "../../vmstate/fields/integers.ts";

/** The configuration section (QEMU 10.0 migration/savevm.c). Loaded as version 0, not the version in the JSON. */
export const configurationVmstate = vmstate({
  name: "configuration",
  version: 1,
  fields: { len: uint32(), name: vbuffer("len") },
  subsections: {
    targetPageBits: vmstate({ name: "configuration/target-page-bits", version: 1, fields: { bits: uint32() } }),
    capabilities: vmstate({
      name: "configuration/capabilities",
      version: 1,
      fields: { count: uint32(), capabilities: varray("count", capability()) },
    }),
    uuid: vmstate({ name: "configuration/uuid", version: 1, fields: { uuid: array(uint8(), 16) } }),
  },
});
export type ConfigurationState = StateOf<typeof configurationVmstate>;

/** Section "globalstate" (QEMU 10.0 migration/global_state.c): the run state before the source was stopped. */
export const globalStateVmstate = describe(
  vmstate({
    name: "globalstate",
    version: 1,
    fields: {
      size: uint32(),
      runstate: buffer(32),
      has_vm_was_suspended: uint8(),
      vm_was_suspended: uint8(),
      unused: buffer(66),
    },
  }),
);
