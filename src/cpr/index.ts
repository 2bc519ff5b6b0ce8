// CprState: the fd table, its list and hash ABI, the QCPR stream. Pure: an fd is a number here.

export { type CprDifference, compareCprStates, type Place } from "./compare.ts";
export { cprStateHash, cprStateList, type LiveCprState } from "./descriptions.ts";
export { type CprAbi, cprMagic, cprVersion, type Detected, detectCprAbi } from "./detect.ts";
export { cprFd, cprFdKey, cprFdValue } from "./elements.ts";
export type { FdHash, FdList } from "./fd-lists.ts";
export { maxNameLength } from "./limits.ts";
export { type CprReport, type ReportedFd, type ReportedSubsection, reportCprState } from "./report.ts";
export { CprState, type CprStateOptions } from "./state.ts";
export {
  type CprInput,
  type LoadCprOptions,
  type LoadedCpr,
  loadCprState,
  type QemuVersion,
  type SaveCprOptions,
  saveCprState,
} from "./stream.ts";
export type { FdEntry } from "./table/fd-table.ts";
export type { LoadedFds } from "./table/loaded-fds.ts";
export type { CprEvent, CprEventName, CprMode, CprTrace } from "./trace.ts";
export { cprVfioDevice, cprVfioDevices, type VfioDevice, type VfioSubsection } from "./vfio.ts";
