// Bytes of the kernel's structures on 64-bit little-endian Linux (x64 and arm64). Pure: numbers in, numbers out.
// A test compares every offset with what the C compiler says.

/** Most fds that one message can carry: SCM_MAX_FD in Linux's include/net/scm.h. */
export const maxFdsPerMessage = 253;

/** SOL_SOCKET and SCM_RIGHTS of <sys/socket.h>. */
const solSocket = 1;
const scmRights = 1;

export const msghdr = {
  size: 56,
  iov: 16,
  iovLength: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
} as const;

export const iovec = { size: 16, base: 0, length: 8 } as const;

export const cmsghdr = { size: 16, length: 0, level: 8, type: 12 } as const;

export const sockaddrUn = { size: 110, family: 0, path: 2 } as const;

/** Bytes of a path that fit a UNIX socket's address, without the closing NUL. */
export const maxSocketPathBytes = sockaddrUn.size - sockaddrUn.path - 1;

/** `struct epoll_event`: packed on x64 alone. */
export function epollEvent(arch: string): { size: number; events: number; data: number } {
  return arch === "x64" ? { size: 12, events: 0, data: 4 } : { size: 16, events: 0, data: 8 };
}

/** CMSG_LEN of a control message with that many fds, in bytes. */
export function controlLength(fdCount: number): number {
  return cmsghdr.size + 4 * fdCount;
}

/** CMSG_SPACE of a control message with that many fds, in bytes. */
export function controlSpace(fdCount: number): number {
  return cmsghdr.size + alignTo8(4 * fdCount);
}

/** Writes one SCM_RIGHTS control message at `at` and returns its length for msg_controllen, in bytes. */
export function writeControl(view: DataView, at: number, fds: readonly number[]): number {
  // 64 bits, of which the upper ones are 0.
  view.setUint32(at + cmsghdr.length, controlLength(fds.length), true);
  view.setUint32(at + cmsghdr.length + 4, 0, true);
  view.setInt32(at + cmsghdr.level, solSocket, true);
  view.setInt32(at + cmsghdr.type, scmRights, true);
  let next = at + cmsghdr.size;
  for (const fd of fds) {
    view.setInt32(next, fd, true);
    next += 4;
  }
  return controlSpace(fds.length);
}

/** Every fd of the SCM_RIGHTS messages in `length` bytes of control data at `at`, in order. */
export function readControl(view: DataView, at: number, length: number): number[] {
  const fds: number[] = [];
  const end = at + length;
  let next = at;
  while (next + cmsghdr.size <= end) {
    const messageLength = view.getUint32(next + cmsghdr.length, true);
    if (messageLength < cmsghdr.size) break;
    const messageEnd = Math.min(next + messageLength, end);
    const isRights =
      view.getInt32(next + cmsghdr.level, true) === solSocket && view.getInt32(next + cmsghdr.type, true) === scmRights;
    if (isRights) {
      for (let fd = next + cmsghdr.size; fd + 4 <= messageEnd; fd += 4) fds.push(view.getInt32(fd, true));
    }
    next += alignTo8(messageLength);
  }
  return fds;
}

function alignTo8(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}
