// cpr-transfer: the CPR channel over a UNIX socket, in both roles. The new process listens, the old one connects,
// sends, ends its writing side and waits for the hang-up, which says that the new one is ready
// (QEMU 10.0 migration/cpr-transfer.c).

import type { CprState } from "../cpr/state.ts";
import { type LoadedCpr, loadCprState, type SaveCprOptions, saveCprState } from "../cpr/stream.ts";
import type { CprTrace } from "../cpr/trace.ts";
import { closeFd, closeFds } from "../linux/fd.ts";
import { raiseNofileLimit } from "../linux/nofile-limit.ts";
import { checkPeer, type PeerCredentials } from "../linux/socket/peer.ts";
import { setSendBuffer, shutdownSocket } from "../linux/socket/socket.ts";
import { acceptUnix, connectUnix, listenUnix } from "../linux/socket/unix.ts";
import type { WaitOptions } from "../linux/wait/options.ts";
import { waitHangup } from "../linux/wait/readiness.ts";
import type { Output } from "../vmstate/wire/writer.ts";
import { prepareForState } from "./compiled.ts";
import { deadlineIn } from "./deadline.ts";
import { drain, drainWaiting } from "./drain.ts";
import { cutMessages, type Message, maxFdsToQemu } from "./messages.ts";
import { guardNonblock } from "./nonblock.ts";
import { defaultTimeoutMs, type ReceiveOptions, receiveStream, type StreamOptions, sendMessages } from "./stream.ts";

/** Options of {@link sendCprState}. `timeoutMs` limits connecting, and then sending. */
export interface SendCprOptions extends Omit<SaveCprOptions, "fdForm">, StreamOptions {
  /** Most fds in one message, 1 to 253. Default 16, which every QEMU can read; another cprkit reads 253. */
  readonly fdsPerMessage?: number | undefined;
  /** User id that the receiver must have. Default: this process's own. */
  readonly peerUid?: number | undefined;
  /** Also wait while nobody listens at the path yet, as long as `timeoutMs`. Default false. */
  readonly waitForListener?: boolean | undefined;
}

/** The state has been sent; the receiver may be loading it. The socket is open until `hungUp` or `close`. */
export interface SentCpr {
  /** Length of the stream in bytes. */
  readonly bytes: number;
  /** How many fds were sent. */
  readonly fds: number;
  /** In how many messages. */
  readonly messages: number;
  /** The receiver. */
  readonly peer: PeerCredentials;
  /**
   * Waits until the receiver hangs up: it has taken the state. Then closes the socket and sets O_NONBLOCK again on
   * the fds where the receiver cleared it, and returns how many. `timeoutMs` defaults to 30 s.
   *
   * @throws CprkitError ERR_TIMEOUT, ERR_ABORTED: the socket stays open.
   */
  hungUp(options?: WaitOptions): Promise<{ readonly nonblockRestored: number }>;
  /** Does not wait (any longer): closes the socket, sets O_NONBLOCK again. A second call does nothing more. */
  close(): { readonly nonblockRestored: number };
  /** Calls `close`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Sends the state as the old process. Its fds stay open here and in `state`.
 *
 * @param to The path that the receiver listens on, or a connected UNIX stream socket, which is closed at the end.
 * @throws CprkitError ERR_PEER_CREDENTIALS if another user listens there; as {@link sendMessages}, {@link saveCprState}
 * and connectUnix.
 */
export async function sendCprState(
  to: string | number,
  state: CprState,
  options: SendCprOptions = {},
): Promise<SentCpr> {
  const { fdsPerMessage = maxFdsToQemu, peerUid, signal, timeoutMs = defaultTimeoutMs, waitForListener } = options;
  let output: Output;
  let messages: Message[];
  try {
    output = saveCprState(state, { ...options, fdForm: "passed" });
    messages = cutMessages(output, fdsPerMessage);
  } catch (error) {
    if (typeof to === "number") closeFd(to);
    throw error;
  }
  const restoreNonblock = guardNonblock(output.fds.map(({ fd }) => fd));
  const socket = typeof to === "number" ? to : await connectUnix(to, { signal, timeoutMs, waitForListener });
  let peer: PeerCredentials;
  try {
    peer = checkPeer(socket, { uid: peerUid });
    // Room for the whole stream, as far as the kernel grants it: waiting for the receiver in between cost a fifth.
    if (typeof to !== "number") setSendBuffer(socket, output.bytes.length);
    await sendMessages(socket, messages, options);
    // A loader looks one byte past the end for a subsection: without this it would wait for ever.
    shutdownSocket(socket, "write");
  } catch (error) {
    closeFd(socket);
    restoreNonblock();
    throw error;
  }
  let ended: { readonly nonblockRestored: number } | undefined;
  const close = () => {
    // Numbers of fds may be other files' at a second call.
    if (ended !== undefined) return ended;
    ended = { nonblockRestored: 0 };
    closeFds([socket]);
    ended = { nonblockRestored: restoreNonblock() };
    return ended;
  };
  return {
    bytes: output.bytes.length,
    fds: output.fds.length,
    messages: messages.length,
    peer,
    close,
    [Symbol.dispose]: () => void close(),
    hungUp: async (wait = {}) => {
      if (ended !== undefined) return ended;
      const deadline = deadlineIn(wait.timeoutMs ?? defaultTimeoutMs, wait.signal);
      await deadline.wait("the receiver to hang up, which says that it has taken the state", (options) =>
        waitHangup(socket, { ...options, halfClose: false }),
      );
      return close();
    },
  };
}

/** Options of {@link receiveCprState}. `timeoutMs` limits receiving, from the connection on. */
export interface ReceiveCprOptions extends Omit<ReceiveOptions, "onMessage" | "onFailure"> {
  /** Longest wait, in ms, for the sender to connect. Default: no limit, as QEMU has none. */
  readonly connectTimeoutMs?: number | undefined;
  /** User id that the sender must have. Default: this process's own. */
  readonly peerUid?: number | undefined;
  /** Sees the trace events of loading. */
  readonly trace?: CprTrace | undefined;
}

/** A state that was received, with its open fds and the CPR channel, which the sender watches. */
export interface ReceivedCpr extends LoadedCpr {
  /** The stream as it came. */
  readonly bytes: Uint8Array;
  /** The sender. */
  readonly peer: PeerCredentials;
  /**
   * Closes the CPR channel, which tells the sender that this process is ready. From then on the fds are the caller's
   * alone. Must be called once, unless `close` is; a second call does nothing.
   */
  hangUp(): void;
  /**
   * Gives up: closes the CPR channel and every fd that is still in `state`. After `hangUp` it does nothing. Remove from
   * `state` first what was closed in another way.
   */
  close(): void;
  /** Calls `close`, for `using`: on an error before `hangUp` no fd stays open. */
  [Symbol.dispose](): void;
}

/**
 * Receives a state as the new process: listens on `path` (mode 0600), takes one sender, reads to the end, loads. The
 * fds in `state` are open, close-on-exec and the caller's; those of duplicate keys are closed. On any error every fd
 * that came is closed and the sender sees a hang-up.
 *
 * @param from Path to listen on, or a connected UNIX stream socket.
 * @throws CprkitError as {@link receiveStream}, {@link loadCprState}, listenUnix and acceptUnix.
 */
export async function receiveCprState(from: string | number, options: ReceiveCprOptions = {}): Promise<ReceivedCpr> {
  // Thousands of fds come at once, and each beyond the limit would be lost.
  raiseNofileLimit();
  const socket = typeof from === "number" ? from : await acceptOne(from, options);
  try {
    const peer = checkPeer(socket, { uid: options.peerUid });
    const stream = await receiveStream(socket, options);
    try {
      await prepareForState(stream.bytes.length);
      const loaded = loadCprState(stream, { trace: options.trace, fdForm: "passed" });
      closeFds(loaded.dropped.map(({ fd }) => fd));
      let open = true;
      const hangUp = () => {
        if (!open) return;
        open = false;
        closeFd(socket);
      };
      const close = () => {
        if (open) closeFds([socket, ...loaded.state.entries().map(({ fd }) => fd)]);
        open = false;
      };
      loaded.state.isIncoming = true;
      return { ...loaded, bytes: stream.bytes, peer, hangUp, close, [Symbol.dispose]: close };
    } catch (error) {
      closeFds(stream.fds.map(({ fd }) => fd));
      throw error;
    }
  } catch (error) {
    await drain(socket);
    closeFd(socket);
    throw error;
  }
}

async function acceptOne(path: string, options: ReceiveCprOptions): Promise<number> {
  const listener = listenUnix(path);
  try {
    return await acceptUnix(listener.fd, { signal: options.signal, timeoutMs: options.connectTimeoutMs });
  } catch (error) {
    await drainWaiting(listener);
    throw error;
  } finally {
    listener.close();
  }
}
