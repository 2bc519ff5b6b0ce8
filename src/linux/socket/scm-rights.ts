// Carries bytes together with fds over a UNIX stream socket (SCM_RIGHTS), one message per call.

import { CprkitError } from "../../vmstate/error.ts";
import { asFd, isFd } from "../as-fd.ts";
import { errno } from "../errno.ts";
import { libc } from "../ffi/koffi.ts";
import { maxFdsPerMessage } from "../ffi/layout.ts";
import { nofileRemedy } from "../nofile-limit.ts";
import { systemError } from "../system-error.ts";

/** Options of {@link sendFds}. */
export interface SendFdsOptions {
  /** Do not wait for room in the socket, also on a blocking one (MSG_DONTWAIT). Default true. */
  readonly dontWait?: boolean | undefined;
}

/**
 * Sends `bytes` with `fds` in one sendmsg(2) and returns how many bytes the socket took, or "again" when it is full:
 * nothing was sent then, so wait with `waitWritable` and call again.
 *
 * The fds travel with the first byte: after a count of at least 1 all of them are sent, and only the bytes from that
 * count on are left to send, without fds. They stay open here.
 *
 * @param bytes At least one byte when there are fds: the kernel sends no fd without a byte.
 * @param fds At most 253 (the kernel's SCM_MAX_FD); QEMU reads at most 16 a message.
 * @throws CprkitError ERR_RANGE for more than 253 fds, ERR_VALUE for fds without a byte, ERR_FD_INVALID naming the
 * fd that is not open, ERR_PEER when the peer is gone, ERR_SYSCALL with ETOOMANYREFS and its remedy.
 */
export function sendFds(
  socket: number,
  bytes: Uint8Array,
  fds: readonly number[],
  options: SendFdsOptions = {},
): number | "again" {
  if (fds.length > maxFdsPerMessage) {
    throw new CprkitError(
      "ERR_RANGE",
      `sending fds: expected at most ${maxFdsPerMessage} in one message (the kernel's limit), found ${fds.length}; ` +
        "send them in several messages",
    );
  }
  if (fds.length > 0 && bytes.length === 0) {
    throw new CprkitError("ERR_VALUE", "sending fds: expected at least one byte to send them with, found none");
  }
  const flags = msgNosignal | (options.dontWait === false ? 0 : msgDontwait);
  const c = libc();
  for (;;) {
    const sent = c.sendmsg(socket, bytes, fds, flags);
    if (sent >= 0) return sent;
    if (sent === -errno.EAGAIN) return "again";
    if (sent !== -errno.EINTR) throw sendError(socket, fds, -sent);
  }
}

/** Options of {@link receiveFds}. */
export interface ReceiveFdsOptions {
  /** How many fds may come with one message, 0 to 253. Default 253. More than that is ERR_CONTROL_TRUNCATED. */
  readonly maxFds?: number | undefined;
}

/** What one message brought. */
export interface Received {
  /** Bytes written to the start of the buffer; 0 at the end of the stream. */
  readonly bytesRead: number;
  /** Open and close-on-exec; they belong to the caller now, who closes them. */
  readonly fds: number[];
}

/**
 * Receives bytes and the fds that came with them in one recvmsg(2), without waiting: "again" when nothing has come
 * yet. The fds are close-on-exec from the start (MSG_CMSG_CLOEXEC).
 *
 * The kernel may join several messages, but never more than one that carries fds.
 *
 * @param buffer At least one byte.
 * @throws CprkitError ERR_VALUE for an empty buffer, ERR_CONTROL_TRUNCATED when the kernel dropped fds; those that came are closed. ERR_PEER when the
 * connection was reset, ERR_FD_INVALID when `socket` is not open, ERR_SYSCALL otherwise.
 */
export function receiveFds(socket: number, buffer: Uint8Array, options: ReceiveFdsOptions = {}): Received | "again" {
  const maxFds = options.maxFds ?? maxFdsPerMessage;
  if (buffer.length === 0) {
    throw new CprkitError("ERR_VALUE", "receiving fds: expected a buffer of at least one byte, found an empty one");
  }
  const c = libc();
  for (;;) {
    const message = c.recvmsg(socket, buffer, maxFds, msgDontwait | msgCmsgCloexec);
    if (message.controlTruncated) {
      for (const fd of message.fds) c.close(fd);
      throw truncatedError(socket, message.fds.length, maxFds);
    }
    if (message.result >= 0) return { bytesRead: message.result, fds: message.fds };
    if (message.result === -errno.EAGAIN) return "again";
    if (message.result !== -errno.EINTR) throw systemError("recvmsg", -message.result, `receiving on socket ${socket}`);
  }
}

const msgDontwait = 0x40;
const msgNosignal = 0x4000;
const msgCmsgCloexec = 0x4000_0000;
const fGetfd = 1;

function sendError(socket: number, fds: readonly number[], number: number): CprkitError {
  if (number === errno.EBADF) {
    const c = libc();
    const isOpen = (fd: number) => c.fcntl(fd, fGetfd, 0) >= 0;
    const index = isOpen(asFd(socket)) ? fds.findIndex((fd) => isFd(fd) && !isOpen(fd)) : -1;
    const which = index < 0 ? `socket ${socket}` : `fds[${index}], fd ${fds[index]},`;
    return new CprkitError(
      "ERR_FD_INVALID",
      `sending ${fds.length} fds: ${which} is not open (EBADF); nothing was sent`,
      {
        errno: "EBADF",
        syscall: "sendmsg",
      },
    );
  }
  return systemError("sendmsg", number, `sending ${fds.length} fds on socket ${socket}`);
}

function truncatedError(socket: number, received: number, maxFds: number): CprkitError {
  const why =
    received >= maxFds
      ? `the control buffer has room for ${maxFds} (maxFds); receive with a larger maxFds, ${maxFdsPerMessage} at most`
      : nofileRemedy();
  return new CprkitError(
    "ERR_CONTROL_TRUNCATED",
    `receiving fds on socket ${socket}: the message carried more fds than the ${received} that could be taken, which ` +
      `are closed again; ${why}`,
    { syscall: "recvmsg" },
  );
}
