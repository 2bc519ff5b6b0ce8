// QEMU's VMState as a typed, declarative library: describe a structure once; load it, save it, explain it.

export { accepts, type LoadOptions, load, loadFrom, type SaveOptions, save, saveTo } from "./codec.ts";
export {
  type Definition,
  type Description,
  describe,
  type Fields,
  type Flat,
  type GatedKeys,
  type Orderly,
  type StateOf,
  type StateOfParts,
  type Subsections,
  vmstate,
  vmstateOf,
} from "./description.ts";
export { CprkitError, type ErrorCode, type ErrorDetails, errorCodes, isCprkitError } from "./error.ts";
export type { DescriptionFacts, FieldFacts, Siblings } from "./facts.ts";
export { array, array2d, type VarrayOptions, varray } from "./fields/arrays.ts";
export { buffer, cstring, opaque, partialBuffer, type VbufferOptions, vbuffer } from "./fields/buffers.ts";
export {
  type EqualOptions,
  int32Equal,
  int32Le,
  uint8Equal,
  uint16Equal,
  uint32Equal,
  uint64Equal,
} from "./fields/checked.ts";
export { type CapabilityOptions, capability, gbytearray } from "./fields/counted.ts";
export { fd } from "./fields/fd.ts";
export { existsIf, type FieldTest, mustExist, since } from "./fields/gated.ts";
export { bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64 } from "./fields/integers.ts";
export { type ListOptions, type ListTable, qlist, qtailq, type TableOptions } from "./fields/lists.ts";
export {
  arrayOfMarkedPointers,
  arrayOfPointers,
  nullPointer,
  type PointersOptions,
  ptrMarker,
} from "./fields/pointers.ts";
export { type TmpConversion, type TmpOptions, unusedBuffer, validate, withTmp } from "./fields/special.ts";
export { pointer, struct, vstruct } from "./fields/struct.ts";
export {
  type DirectKeyOptions,
  ghash,
  ghashDirectKey,
  gtree,
  gtreeDirectKey,
  type KeyedTable,
  type OwnTable,
  type TreeOptions,
} from "./fields/trees.ts";
export { bitmap, cpuDouble, timer } from "./fields/values.ts";
export { type Span, spanRecorder, type Trace, trace } from "./trace.ts";
export {
  type AnyDescription,
  type AnyField,
  type Field,
  type GatedField,
  type Hooks,
  misfit,
  type NamedField,
  type NamedSubsection,
  siblingCount,
  type ValueOf,
} from "./types.ts";
export type { PlainEntry, PlainState } from "./vmdesc/fields.ts";
export {
  fromVmdesc,
  type OpaqueKinds,
  parseVmdesc,
  type Vmdesc,
  type VmdescBody,
  type VmdescDevice,
  type VmdescWarning,
} from "./vmdesc/read.ts";
export { toVmdesc, type VmdescOptions, type VmdescStyle } from "./vmdesc/write.ts";
export { type FdForm, type Input, maxDepth, type Observer, type PassedFd, Reader, unknownFd } from "./wire/reader.ts";
export { decodeText, encodeText, textBytes, textLength } from "./wire/text.ts";
export { type ElementForm, type Output, type SaveObserver, Writer } from "./wire/writer.ts";
