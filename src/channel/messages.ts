// Cuts a stream into messages, so that several fds travel in one sendmsg and every QEMU still finds each at its byte.

import { maxFdsPerMessage } from "../linux/ffi/layout.ts";
import { CprkitError } from "../vmstate/error.ts";
import type { Output } from "../vmstate/wire/writer.ts";

/** One sendmsg: a view of the bytes, and the fds that go with its first byte. */
export interface Message {
  /** At least one byte if there are fds. */
  readonly bytes: Uint8Array;
  /** At most 253, and 16 toward QEMU. */
  readonly fds: readonly number[];
}

/** Most fds in one message to QEMU: it receives into a control buffer for 16 fds and loses the rest (QEMU 10.0 io/channel-socket.c). */
export const maxFdsToQemu = 16;

/**
 * Cuts what was saved into messages of at most `maxFds` fds, each message ending at the byte of its last fd. Every fd
 * then travels in a message that begins at or before its byte: early is fine for every QEMU, late is fatal. The bytes
 * are unchanged.
 *
 * @param maxFds 1 to 253; {@link maxFdsToQemu} toward QEMU.
 * @throws CprkitError ERR_FD_INVALID for an fd that is unknown (-1): it cannot be sent; ERR_VALUE for a `maxFds` out of
 * its range.
 */
export function cutMessages(output: Output, maxFds: number): Message[] {
  checkMaxFds(maxFds);
  const { bytes, fds } = output;
  const messages: Message[] = [];
  let start = 0;
  for (let at = 0; at < fds.length; at += maxFds) {
    const group = fds.slice(at, at + maxFds);
    const unknown = group.find(({ fd }) => fd < 0);
    if (unknown !== undefined) {
      throw new CprkitError(
        "ERR_FD_INVALID",
        "the fd for this byte is not known: a state loaded without its fds cannot be sent",
        {
          offset: unknown.offset,
        },
      );
    }
    const end = (group.at(-1)?.offset ?? start) + 1;
    messages.push({ bytes: bytes.subarray(start, end), fds: group.map(({ fd }) => fd) });
    start = end;
  }
  if (start < bytes.length) messages.push({ bytes: bytes.subarray(start), fds: [] });
  return messages;
}

/**
 * Cuts one received message into messages of at most `maxFds` fds, without knowing its content: the first group goes
 * with the first byte, the next with the second, and so on. Each fd has a byte of its own in the stream, so none comes
 * late.
 *
 * @throws CprkitError ERR_BAD_STREAM if there are more groups than bytes: no such stream can be right; ERR_VALUE as
 * {@link cutMessages}.
 */
export function splitMessage(message: Message, maxFds: number): Message[] {
  checkMaxFds(maxFds);
  const { bytes, fds } = message;
  const groups = Math.max(1, Math.ceil(fds.length / maxFds));
  if (groups > bytes.length) {
    throw new CprkitError(
      "ERR_BAD_STREAM",
      `a message of ${bytes.length} bytes carries ${fds.length} fds: each needs a byte of its own`,
    );
  }
  return Array.from({ length: groups }, (_, at) => ({
    bytes: bytes.subarray(at, at + 1 === groups ? bytes.length : at + 1),
    fds: fds.slice(at * maxFds, (at + 1) * maxFds),
  }));
}

function checkMaxFds(maxFds: number): void {
  if (Number.isInteger(maxFds) && maxFds >= 1 && maxFds <= maxFdsPerMessage) return;
  throw new CprkitError("ERR_VALUE", `fds per message: expected 1 to ${maxFdsPerMessage}, found ${maxFds}`);
}
