// One fd on the wire, in both ABIs.

import { vmstate } from "../vmstate/description.ts";
import { cstring } from "../vmstate/fields/buffers.ts";
import { fd } from "../vmstate/fields/fd.ts";
import { int32, uint32 } from "../vmstate/fields/integers.ts";
import { maxNameLength } from "./limits.ts";

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
