// How a program of our own ends once koffi is loaded. At a usual exit koffi flushes stdout and stderr with fsync, and if that
// fails (EIO, a full disk) it reports the failure on the stream that it holds locked: the process would never end.

/** What koffi.ts puts here, which a program that makes no system call need not load. */
export const atExit: { end?: (status: number) => void } = {};

/** Ends the process at once if koffi has been loaded, else does nothing. For the last of the "exit" listeners. */
export function exitWithoutKoffi(status: number): void {
  atExit.end?.(status);
}
