// cprkit/linux: fds on Linux. Every system call that cprkit makes is behind these functions.

export { asFd, isFd } from "./as-fd.ts";
export { errnoName } from "./errno.ts";
export { createEventfd, type EventfdOptions } from "./eventfd.ts";
export {
  closeFd,
  closeFds,
  dupFd,
  getNonblock,
  isCloseOnExec,
  isOpen,
  setCloseOnExec,
  setNonblock,
} from "./fd.ts";
export { maxFdsPerMessage, maxSocketPathBytes } from "./ffi/layout.ts";
export { createMemfd, type MemfdOptions } from "./memfd.ts";
export { getNofileLimit, type NofileLimit, raiseNofileLimit, setNofileLimit } from "./nofile-limit.ts";
export { type ExecveOptions, execve } from "./process/exec.ts";
export { getFdOf, openPidfd, signalPidfd, waitExit } from "./process/pidfd.ts";
export {
  compareOpenFiles,
  describeFd,
  type FdInfo,
  type FdRef,
  isRunning,
  isSameProcess,
  listFds,
  type ProcessIdentity,
  type ProcessRef,
  processIdentity,
  readFdInfo,
  readFdLink,
} from "./process/proc.ts";
export {
  checkPeer,
  type ExpectedPeer,
  getPeerCredentials,
  type HeldPeer,
  holdPeer,
  nameOfPeer,
  type PeerCredentials,
} from "./socket/peer.ts";
export {
  type Received,
  type ReceiveFdsOptions,
  receiveFds,
  type SendFdsOptions,
  sendFds,
} from "./socket/scm-rights.ts";
export { getSendBuffer, listenAgain, setSendBuffer, shutdownSocket, socketPair } from "./socket/socket.ts";
export {
  acceptUnix,
  type ConnectOptions,
  connectUnix,
  type ListenOptions,
  listenUnix,
  privateSocketDir,
  type UnixListener,
} from "./socket/unix.ts";
export { type ListeningUnixSocket, listeningUnixSockets } from "./socket/unix-table.ts";
export type { WaitOptions } from "./wait/options.ts";
export {
  type Readiness,
  readiness,
  type WaitHangupOptions,
  waitHangup,
  waitReadable,
  waitWritable,
} from "./wait/readiness.ts";
