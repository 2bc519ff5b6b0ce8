// What most users need, from one place. The subpaths (cprkit/vmstate, cprkit/cpr, ...) have all the rest.

export {
  cprChannelName,
  diagnosticsTrace,
  execWithCprState,
  loadCprStateFromExec,
  receiveCprState,
  sendCprState,
} from "./channel/index.ts";
export { CprState, detectCprAbi, loadCprState, type QemuVersion, saveCprState } from "./cpr/index.ts";
export { tap } from "./qemu/index.ts";
export { CprkitError, type ErrorCode, isCprkitError, load, type StateOf, save, vmstate } from "./vmstate/index.ts";
