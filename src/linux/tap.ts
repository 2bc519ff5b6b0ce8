// What can be set of a tap interface by its fds (linux/if_tun.h): each of them is a queue.

import { asFd } from "./as-fd.ts";
import { libc } from "./ffi/koffi.ts";
import { check } from "./system-error.ts";

const tunGetIff = 0x800454d2;
const tunSetQueue = 0x400454d9;
const tunGetVnetHeaderSize = 0x800454d7;
const tunSetVnetHeaderSize = 0x400454d8;
const attachQueue = 0x0200;
const detachQueue = 0x0400;

/** struct ifreq of a 64-bit system: 16 bytes of name, then the flags. */
const ifreqBytes = 40;
const flagsAt = 16;

/** Whether the kernel gives packets to this queue. @throws CprkitError ERR_SYSCALL for what is not a tap's fd */
export function isQueueAttached(fd: number): boolean {
  const request = new Uint8Array(ifreqBytes);
  check(libc().ioctl(asFd(fd), tunGetIff, request), "ioctl", () => `asking about the tap queue of fd ${fd}`);
  return (new DataView(request.buffer).getUint16(flagsAt, true) & detachQueue) === 0;
}

/** Name of the interface. @throws CprkitError ERR_SYSCALL for what is not a tap's fd */
export function interfaceOf(fd: number): string {
  const request = new Uint8Array(ifreqBytes);
  check(libc().ioctl(asFd(fd), tunGetIff, request), "ioctl", () => `asking about the tap of fd ${fd}`);
  return Buffer.from(request.subarray(0, flagsAt)).toString("latin1").replace(/\0.*$/s, "");
}

/** Bytes of the header before each packet, of the whole interface: 10, or 12 for most drivers. @throws CprkitError */
export function getVnetHeaderSize(fd: number): number {
  const size = new Uint8Array(4);
  check(libc().ioctl(asFd(fd), tunGetVnetHeaderSize, size), "ioctl", () => `asking about the tap of fd ${fd}`);
  return new DataView(size.buffer).getInt32(0, true);
}

/** Sets it for all who have the interface open. @throws CprkitError ERR_SYSCALL */
export function setVnetHeaderSize(fd: number, bytes: number): void {
  const size = new Uint8Array(4);
  new DataView(size.buffer).setInt32(0, bytes, true);
  check(libc().ioctl(asFd(fd), tunSetVnetHeaderSize, size), "ioctl", () => `setting the header size of fd ${fd}`);
}

/**
 * Attaches or detaches a queue of a tap with several, for all who have it open.
 *
 * @throws CprkitError ERR_SYSCALL with EINVAL when it is so already, or the tap has one queue only
 */
export function setQueueAttached(fd: number, attached: boolean): void {
  const request = new Uint8Array(ifreqBytes);
  new DataView(request.buffer).setUint16(flagsAt, attached ? attachQueue : detachQueue, true);
  const what = attached ? "attaching" : "detaching";
  check(libc().ioctl(asFd(fd), tunSetQueue, request), "ioctl", () => `${what} the tap queue of fd ${fd}`);
}
