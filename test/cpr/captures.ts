// The CPR streams of real QEMU, with the form of their fds, and their fds as they could arrive.

import type { FdForm, PassedFd } from "../../src/vmstate/index.ts";
import { type CprCapture, type CprSidecar, listCprCaptures } from "../support/shared.ts";

/** Each capture with the form of its fds. */
export const captures = listCprCaptures().map((capture) => {
  const form: FdForm = capture.sidecar.kind === "cpr-exec" ? "number" : "passed";
  return { ...capture, form };
});

/** Fds as if each had come with the very byte that stands for it: 100, 101 and so on. */
export function fdsAtTheirBytes({ sidecar }: CprCapture): PassedFd[] {
  return sidecar.fds.map(({ byteOffset }, at) => ({ offset: byteOffset, fd: 100 + at }));
}

/** Fds at the first byte of the recvmsg that brought them. */
export function fdsAsReceived({ sidecar }: CprCapture): PassedFd[] {
  const fds: PassedFd[] = [];
  let offset = 0;
  // Bytes and fds of each recvmsg of the proxy that recorded the stream; only the sidecars of cpr-transfer have it.
  const { recvmsg } = sidecar as CprSidecar & { readonly recvmsg: readonly (readonly [number, number])[] };
  for (const [bytes, count] of recvmsg) {
    for (let i = 0; i < count; i++) fds.push({ offset, fd: 100 + fds.length });
    offset += bytes;
  }
  return fds;
}
