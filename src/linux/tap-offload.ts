// Which work on large packets the kernel leaves to the other side of a tap interface (TUNSETOFFLOAD of linux/if_tun.h). It can
// be set by the interface's fds, and is not told there: it is among the features that ethtool(8) shows.

import { fstatSync, statSync } from "node:fs";
import { closeFd } from "./fd.ts";
import { libc } from "./ffi/koffi.ts";
import { check } from "./system-error.ts";
import { interfaceOf } from "./tap.ts";

const tunSetOffload = 0x400454d0;
const tunGetDeviceNamespace = 0x54e3;
const [afUnix, datagram, closeOnExec] = [1, 2, 0x80000];

/** Names of features (linux net/ethtool/common.c), and the bits of TUNSETOFFLOAD that switch each of them on. */
const features: ReadonlyMap<string, number> = new Map([
  ["tx-checksum-ip-generic", 0x01],
  ["tx-tcp-segmentation", 0x02],
  ["tx-tcp6-segmentation", 0x04],
  ["tx-tcp-ecn-segmentation", 0x08],
  ["tx-udp-segmentation", 0x20 | 0x40],
]);

/** As {@link offloadOf}, by an fd of the interface. Undefined also for one in another network namespace than ours. */
export function getOffload(fd: number): number | undefined {
  const namespace = libc().ioctlValue(fd, tunGetDeviceNamespace, 0);
  if (namespace < 0) return undefined;
  try {
    const [its, own] = [fstatSync(namespace), statSync("/proc/self/ns/net")];
    return its.ino === own.ino && its.dev === own.dev ? offloadOf(interfaceOf(fd)) : undefined;
  } finally {
    closeFd(namespace);
  }
}

/** What is switched on, in the bits of TUNSETOFFLOAD; undefined where the kernel does not tell. */
export function offloadOf(name: string): number | undefined {
  const socket = libc().socket(afUnix, datagram | closeOnExec);
  if (socket < 0) return undefined;
  try {
    const names = featureNames(socket, name);
    const active = names === undefined ? undefined : activeFeatures(socket, name, names.length);
    if (names === undefined || active === undefined) return undefined;
    return names.reduce((bits, each, at) => (active(at) ? bits | (features.get(each) ?? 0) : bits), 0);
  } finally {
    closeFd(socket);
  }
}

/** Sets it for all who have the interface open. @throws CprkitError ERR_SYSCALL */
export function setOffload(fd: number, bits: number): void {
  check(libc().ioctlValue(fd, tunSetOffload, bits), "ioctl", () => `setting what is left to the tap of fd ${fd}`);
}

// Commands of SIOCETHTOOL (linux/ethtool.h), and the set of strings with the features' names.
const [getStrings, getSetInfo, getFeatures, featureSet, nameBytes] = [0x1b, 0x37, 0x3a, 4, 32];

function featureNames(socket: number, name: string): string[] | undefined {
  const info = new DataView(new ArrayBuffer(20));
  info.setUint32(0, getSetInfo, true);
  info.setBigUint64(8, 1n << BigInt(featureSet), true);
  if (!ask(socket, name, info)) return undefined;
  const count = info.getUint32(16, true);
  const strings = new DataView(new ArrayBuffer(12 + count * nameBytes));
  for (const [at, value] of [getStrings, featureSet, count].entries()) strings.setUint32(at * 4, value, true);
  if (!ask(socket, name, strings)) return undefined;
  return Array.from({ length: count }, (_, at) => {
    const bytes = Buffer.from(strings.buffer, 12 + at * nameBytes, nameBytes);
    return bytes.toString("latin1").replace(/\0.*$/s, "");
  });
}

function activeFeatures(socket: number, name: string, count: number): ((at: number) => boolean) | undefined {
  const blocks = Math.ceil(count / 32);
  const answer = new DataView(new ArrayBuffer(8 + blocks * 16));
  answer.setUint32(0, getFeatures, true);
  answer.setUint32(4, blocks, true);
  if (!ask(socket, name, answer)) return undefined;
  // Available, requested, active, never changed: 32 features in each block.
  return (at) => ((answer.getUint32(8 + (at >> 5) * 16 + 8, true) >>> (at & 31)) & 1) === 1;
}

function ask(socket: number, name: string, data: DataView): boolean {
  return libc().ethtool(socket, name, new Uint8Array(data.buffer)) >= 0;
}
