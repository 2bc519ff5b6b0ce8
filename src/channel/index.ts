// Carries a CprState between processes: over a socket (cpr-transfer) and across exec (cpr-exec).

export { cprChannelName, diagnosticsTrace } from "./diagnostics.ts";
export {
  cprExecVariable,
  type ExecCprOptions,
  execWithCprState,
  type LoadExecOptions,
  loadCprStateFromExec,
  readExecCprState,
} from "./exec.ts";
export { cutMessages, type Message, maxFdsToQemu, splitMessage } from "./messages.ts";
export { guardNonblock } from "./nonblock.ts";
export {
  type ReceivedStream,
  type ReceiveOptions,
  receiveStream,
  type StreamOptions,
  type StreamProgress,
  sendMessages,
} from "./stream.ts";
export {
  type ReceiveCprOptions,
  type ReceivedCpr,
  receiveCprState,
  type SendCprOptions,
  type SentCpr,
  sendCprState,
} from "./transfer.ts";
