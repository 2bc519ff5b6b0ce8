// Sends and receives a stream of bytes with fds over a connected UNIX socket, without blocking the event loop.

import { setTimeout as delay } from "node:timers/promises";
import { maxCprStateBytes } from "../cpr/limits.ts";
import { closeFds } from "../linux/fd.ts";
import { maxFdsPerMessage } from "../linux/ffi/layout.ts";
import { receiveFds, sendFds } from "../linux/socket/scm-rights.ts";
import type { WaitOptions } from "../linux/wait/options.ts";
import { waitReadable, waitWritable } from "../linux/wait/readiness.ts";
import { CprkitError, isCprkitError } from "../vmstate/error.ts";
import type { PassedFd } from "../vmstate/wire/reader.ts";
import { type Deadline, deadlineIn } from "./deadline.ts";
import type { Message } from "./messages.ts";

/** What has passed so far. */
export interface StreamProgress {
  /** Bytes of the stream. */
  readonly bytes: number;
  /** Number of fds. */
  readonly fds: number;
}

/** Options of everything that sends or receives a stream. `timeoutMs` (default 30 s) limits the whole of it. */
export interface StreamOptions extends WaitOptions {
  /** Called after each message. */
  readonly onProgress?: ((progress: StreamProgress) => void) | undefined;
}

export const defaultTimeoutMs = 30_000;

/**
 * Sends the messages in order. All of a message's fds go with its first byte, so after a partial send only bytes are
 * left. While too many fds are on their way (ETOOMANYREFS, unix(7)) it waits for the receiver to take some. Returns what
 * was sent. The fds stay open here.
 *
 * @throws CprkitError ERR_PEER when the peer is gone, ERR_TIMEOUT, ERR_ABORTED, ERR_FD_INVALID, ERR_SYSCALL.
 */
export async function sendMessages(
  socket: number,
  messages: readonly Message[],
  options: StreamOptions = {},
): Promise<StreamProgress> {
  const deadline = deadlineIn(options.timeoutMs ?? defaultTimeoutMs, options.signal);
  let bytes = 0;
  let fds = 0;
  for (const message of messages) {
    let sent = 0;
    while (sent < message.bytes.length) {
      const pending = sent === 0 ? message.fds : [];
      const rest = sent === 0 ? message.bytes : message.bytes.subarray(sent);
      checkAborted(options.signal, "sending");
      deadline.check(sending);
      // Nearly always there is room, and a promise for each message would be a tenth of it.
      const count =
        sendNow(socket, rest, pending) ?? (await sendLater(socket, rest, pending, options.signal, deadline));
      sent += count;
      bytes += count;
      fds += pending.length;
    }
    options.onProgress?.({ bytes, fds });
  }
  return { bytes, fds };
}

const sending = "the peer to take the CPR state";

/** How many bytes the socket took; undefined: none, it must be waited for. Throws as {@link sendMessages}. */
function sendNow(socket: number, bytes: Uint8Array, fds: readonly number[]): number | undefined {
  try {
    const sent = sendFds(socket, bytes, fds);
    return sent === "again" ? undefined : sent;
  } catch (error) {
    if (isTooManyOnTheirWay(error)) return undefined;
    throw error;
  }
}

async function sendLater(
  socket: number,
  bytes: Uint8Array,
  fds: readonly number[],
  signal: AbortSignal | undefined,
  deadline: Deadline,
): Promise<number> {
  for (let pause = 1; ; pause = Math.min(pause * 2, 20)) {
    checkAborted(signal, "sending");
    deadline.check(sending);
    try {
      const sent = sendFds(socket, bytes, fds);
      if (sent !== "again") return sent;
      await deadline.wait(sending, (options) => waitWritable(socket, options));
    } catch (error) {
      // The kernel has nothing to wait for here: the receiver must take fds out of its socket.
      if (!isTooManyOnTheirWay(error)) throw error;
      await delay(pause, undefined, signal === undefined ? {} : { signal }).catch(() =>
        checkAborted(signal, "sending"),
      );
      // The kernel's error says more than that time is over.
      if (deadline.isOver()) throw error;
    }
  }
}

function isTooManyOnTheirWay(error: unknown): boolean {
  return isCprkitError(error) && error.errno === "ETOOMANYREFS";
}

/** A whole stream. The fds are open, close-on-exec, and the caller's. */
export interface ReceivedStream {
  /** All bytes, up to where the peer ended its side. */
  readonly bytes: Uint8Array;
  /** In the order in which they came. `offset`: of the first byte of the message that brought the fd, or an earlier one. */
  readonly fds: readonly PassedFd[];
}

/** Options of {@link receiveStream}. */
export interface ReceiveOptions extends StreamOptions {
  /** More bytes than this are refused with ERR_LIMIT. Default 64 MiB: 200,000 fds with long names. */
  readonly maxBytes?: number | undefined;
  /** Sees each message as it comes; waited for. Its fds stay the stream's. */
  readonly onMessage?: ((message: Message) => void | Promise<void>) | undefined;
  /** Called after an error, while the fds that came are still open; they are closed next. */
  readonly onFailure?: (() => void) | undefined;
}

/**
 * Receives until the peer ends its side. On any error every fd that came is closed; `socket` stays open.
 *
 * @throws CprkitError ERR_LIMIT beyond `maxBytes`, ERR_TIMEOUT, ERR_ABORTED, ERR_CONTROL_TRUNCATED, ERR_PEER; what
 * `onMessage` throws.
 */
export async function receiveStream(socket: number, options: ReceiveOptions = {}): Promise<ReceivedStream> {
  const { signal, timeoutMs = defaultTimeoutMs, maxBytes = maxCprStateBytes } = options;
  const deadline = deadlineIn(timeoutMs, signal);
  // Grows by doubling: a peer that sends single bytes costs no more than one that sends much at once.
  let buffer = new Uint8Array(2 * minRead);
  const fds: PassedFd[] = [];
  let bytes = 0;
  const awaited = () => `the rest of the CPR state, after ${bytes} bytes and ${fds.length} fds`;
  try {
    for (;;) {
      checkAborted(signal, "receiving");
      // The text is made for an error alone.
      if (deadline.isOver()) deadline.check(awaited());
      if (buffer.length - bytes < minRead) {
        const larger = new Uint8Array(2 * buffer.length);
        larger.set(buffer);
        buffer = larger;
      }
      const received = receiveFds(socket, buffer.subarray(bytes), { maxFds: maxFdsPerMessage });
      if (received === "again") {
        await deadline.wait(awaited(), (options) => waitReadable(socket, options));
        continue;
      }
      for (const fd of received.fds) fds.push({ offset: bytes, fd });
      if (received.bytesRead === 0) break;
      const start = bytes;
      bytes += received.bytesRead;
      if (bytes > maxBytes) {
        throw new CprkitError("ERR_LIMIT", `the stream is longer than ${maxBytes} bytes, which no CPR state is`, {
          offset: maxBytes,
        });
      }
      if (options.onMessage !== undefined)
        await options.onMessage({ bytes: buffer.subarray(start, bytes), fds: received.fds });
      options.onProgress?.({ bytes, fds: fds.length });
    }
  } catch (error) {
    try {
      options.onFailure?.();
    } finally {
      closeFds(fds.map(({ fd }) => fd));
    }
    throw error;
  }
  return { bytes: buffer.slice(0, bytes), fds };
}

/** Room for one read, in bytes. */
const minRead = 64 * 1024;

function checkAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted !== true) return;
  throw new CprkitError("ERR_ABORTED", `${what} the CPR state was aborted`, { cause: signal.reason });
}
