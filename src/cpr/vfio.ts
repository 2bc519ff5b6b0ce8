// The subsection "CprState/vfio devices" (QEMU 10.1 on): which kernel objects of iommufd belong to which device.

import { vmstate } from "../vmstate/description.ts";
import { cstring } from "../vmstate/fields/buffers.ts";
import { int32, uint32 } from "../vmstate/fields/integers.ts";
import { qlist } from "../vmstate/fields/lists.ts";
import type { Field, Reader, StateOf } from "../vmstate/index.ts";
import { maxNameLength } from "./limits.ts";

/** A vfio device of the iommufd backend. The ids name objects inside the passed iommufd. */
export const cprVfioDevice = vmstate({
  name: "cpr vfio device",
  version: 1,
  minimumVersion: 1,
  fields: {
    namelen: uint32(),
    name: cstring("namelen", maxNameLength),
    devid: int32(),
    ioasId: uint32(),
    hwptId: uint32(),
  },
});

/** A device of the subsection "CprState/vfio devices" (QEMU 10.1 on). */
export interface VfioDevice extends StateOf<typeof cprVfioDevice> {}

/**
 * The subsection's body: the devices, newest first; or undefined for no body at all, not even the end of a list,
 * which is what a QEMU built without iommufd sends.
 */
export const cprVfioDevices = vmstate({
  name: "CprState/vfio devices",
  version: 1,
  minimumVersion: 1,
  fields: { devices: unlessAtEnd(qlist(cprVfioDevice, { version: 1 })) },
});

/** The body of the subsection "CprState/vfio devices". */
export interface VfioSubsection extends StateOf<typeof cprVfioDevices> {}

/** `field`, or undefined when the input ends before it. */
function unlessAtEnd<T>(field: Field<T>): Field<T | undefined> {
  return {
    ...field,
    optional: true,
    load: (reader: Reader, current, siblings) => {
      // Nobody writes it two times, and saving could not give it back.
      if (current !== undefined) throw reader.error("ERR_DUPLICATE", "this subsection appears more than once");
      return reader.remaining === 0 ? undefined : field.load(reader, current, siblings);
    },
    save: (writer, value, siblings) => {
      if (value !== undefined) field.save(writer, value, siblings);
    },
  };
}
