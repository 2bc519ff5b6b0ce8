// Sits on the CPR channel between two QEMUs: reports each fd that passes and the bytes, translates the ABI if
// asked. To the old QEMU it is the new one, to the new one it is the old: it passes on the end of the stream and the
// hang-up, each in its own direction, and never half-closes toward the old QEMU, which takes that for the hang-up.

import { drain, drainWaiting } from "../channel/drain.ts";
import {
  cutMessages,
  guardNonblock,
  type Message,
  maxFdsToQemu,
  type ReceivedStream,
  receiveStream,
  sendMessages,
  splitMessage,
} from "../channel/index.ts";
import {
  type CprAbi,
  type CprState,
  type FdEntry,
  type LoadedCpr,
  loadCprState,
  type QemuVersion,
  saveCprState,
} from "../cpr/index.ts";
import {
  acceptUnix,
  checkPeer,
  closeFds,
  connectUnix,
  listenUnix,
  type ProcessIdentity,
  raiseNofileLimit,
  shutdownSocket,
  waitHangup,
} from "../linux/index.ts";
import { CprkitError, isCprkitError } from "../vmstate/index.ts";
import { addFds, describeOwnFd, type GuardedTaps, guardOwnTaps, takeOwnFds } from "./handover/own-fds.ts";

/** Options of {@link tap}. */
export interface TapOptions {
  /** Path to listen on: the old QEMU's `migrate` names it as the CPR channel. At most 107 bytes. */
  readonly listen: string;
  /** Mode of that socket. Default 0600: only this user, and root, can connect. */
  readonly listenMode?: number | undefined;
  /** Path on which the new QEMU waits for its CPR state. */
  readonly connect: string;
  /** Writes the state in this ABI. Default: as it came. */
  readonly to?: CprAbi | undefined;
  /** Writes the state for this QEMU. Default: as it came. */
  readonly forVersion?: QemuVersion | undefined;
  /** Ends the tap with ERR_ABORTED; both QEMUs are hung up on. */
  readonly signal?: AbortSignal | undefined;
  /** User id that both QEMUs must have. Default: this process's own. */
  readonly peerUid?: number | undefined;
  /** The process that must be the old QEMU. Default: any of that user. */
  readonly source?: ProcessIdentity | undefined;
  /** The process that must be the new QEMU. Default: any of that user. */
  readonly destination?: ProcessIdentity | undefined;
  /**
   * By when, in ms, the new QEMU must listen; from then on, the whole state have passed; and from then on, one of the
   * two have hung up. Default 30,000 each.
   */
  readonly timeoutMs?: number | undefined;
  /** Another limit for the last of these waits; Infinity for none, where somebody else sees to the two QEMUs. */
  readonly hangupTimeoutMs?: number | undefined;
  /**
   * Fds that go along, to another cprkit: those of {@link takeVmFds}, which QEMU's CPR leaves behind. They stay the caller's.
   */
  readonly add?: CprState | undefined;
  /**
   * Called with the fds that another cprkit has added, before the new QEMU is looked for: so that it can be started with
   * them. They do not go on to QEMU, and are closed when the tap ends. Until the new QEMU hangs up, the tap interfaces
   * among them stay as the old one has set them.
   */
  readonly onOwn?: ((own: CprState) => void | Promise<void>) | undefined;
  /** Called when the tap listens and the old QEMU may connect. */
  readonly onListening?: (() => void) | undefined;
  /** Called when the old QEMU has connected, before the new one is looked for. */
  readonly onSource?: (() => void) | undefined;
  /** Called once the whole state has passed, before the new QEMU has hung up. */
  readonly onState?: ((passed: PassedState) => void) | undefined;
}

/** An fd that passed, and what it is: "memfd:pc.ram", "anon_inode:[eventfd]", "/dev/vfio/12". Its number is the tap's. */
export interface PassedEntry extends FdEntry {
  /** What it is, as {@link describeFd} says it. */
  readonly what: string;
}

/** A state that passed through. */
export interface PassedState {
  /** The bytes as the old QEMU sent them. */
  readonly received: Uint8Array;
  /** The bytes as the new QEMU got them. */
  readonly sent: Uint8Array;
  /** Undefined if cprkit cannot read the bytes as a state; they were passed on anyway. */
  readonly abi: CprAbi | undefined;
  /** Open in `onState` and until the tap ends, closed afterwards. */
  readonly fds: readonly PassedEntry[];
  /** Those that were added for the other cprkit, or that it has added. */
  readonly own: readonly PassedEntry[];
  /** What is odd about the state, or why it could not be read. */
  readonly warnings: readonly string[];
  /** Time from the first connection to the end of sending, in ms. */
  readonly relayMs: number;
}

/** What {@link tap} resolves with. */
export interface TapResult extends PassedState {
  /** Who hung up first: normally the new QEMU, when it is ready for the main channel. */
  readonly hungUpBy: "source" | "destination";
  /** Fds on which O_NONBLOCK was set again after the new QEMU had cleared it (10.0 does). */
  readonly nonblockRestored: number;
}

/**
 * Relays one CPR state from the old QEMU to the new one. Resolves when one side has hung up and the other has been told.
 *
 * Without translation each message goes on as it comes; with it, the whole state is read and checked first. On any
 * error both sides are hung up on, which leaves the guest running in the old QEMU, O_NONBLOCK is set again where the new
 * one had cleared it, and every fd that passed is closed here: both QEMUs keep their own.
 *
 * @throws CprkitError ERR_TIMEOUT if nobody listens at `connect` in time, ERR_PEER if a side dies, ERR_NOT_FOR_VERSION,
 * ERR_PEER_CREDENTIALS, ERR_ABORTED; when translating also what loadCprState throws; as listenUnix, sendMessages and
 * receiveStream.
 */
export async function tap(options: TapOptions): Promise<TapResult> {
  raiseNofileLimit();
  const { signal, timeoutMs = 30_000, hangupTimeoutMs = timeoutMs, peerUid: uid } = options;
  const listener = listenUnix(options.listen, { mode: options.listenMode });
  const open: number[] = [];
  let held: readonly number[] = [];
  const guards: (() => number)[] = [];
  const restoreNonblock = () => guards.reduce((sum, restore) => sum + restore(), 0);
  let letFinish = () => drainWaiting(listener);
  let taps: GuardedTaps | undefined;
  try {
    options.onListening?.();
    const source = await acceptUnix(listener.fd, { signal });
    open.push(source);
    letFinish = () => drain(source);
    listener.close();
    checkPeer(source, { uid, process: options.source });
    options.onSource?.();
    const start = performance.now();
    const connect = async () => {
      const socket = await connectUnix(options.connect, { signal, timeoutMs, waitForListener: true });
      open.push(socket);
      checkPeer(socket, { uid, process: options.destination });
      return socket;
    };
    const { add, onOwn } = options;
    const translate = [options.to, options.forVersion, add, onOwn].some((each) => each !== undefined);
    const early = onOwn === undefined ? await connect() : undefined;
    const live = translate ? undefined : early;
    const stream = await relayed({ source, destination: early, live, signal, timeoutMs, guards });
    held = stream.fds.map(({ fd }) => fd);
    const { loaded, warnings } = understand(stream, translate);
    const own = onOwn === undefined || loaded === undefined ? add : takeOwnFds(loaded.state);
    const fds = loaded === undefined ? [] : passedEntries(loaded.state);
    if (onOwn !== undefined && own !== undefined) {
      taps = guardOwnTaps(own);
      await onOwn(own);
    }
    const destination = early ?? (await connect());
    let sent = stream.bytes;
    if (translate && loaded !== undefined) {
      const { to = loaded.abi, forVersion } = options;
      if (add !== undefined) addFds(loaded.state, add);
      const output = saveCprState(loaded.state, { abi: to, forVersion });
      await sendMessages(destination, cutMessages(output, maxFdsToQemu), { signal, timeoutMs });
      sent = output.bytes;
    }
    shutdownSocket(destination, "write");
    const relayMs = performance.now() - start;
    const passed: PassedState = {
      received: stream.bytes,
      sent,
      abi: loaded?.abi,
      fds,
      own: own === undefined ? [] : passedEntries(own),
      warnings,
      relayMs,
    };
    options.onState?.(passed);
    const hungUpBy = await firstHangup(source, destination, signal, hangupTimeoutMs);
    return { ...passed, hungUpBy, nonblockRestored: restoreNonblock() };
  } catch (error) {
    taps?.restore();
    throw error;
  } finally {
    taps?.release();
    await letFinish();
    listener.close();
    // Closing both is the hang-up for whichever side has not hung up.
    closeFds(open);
    // Also after an error: the old QEMU runs on, with fds that must not block it.
    try {
      if (held.length > 0) restoreNonblock();
    } finally {
      closeFds(held);
    }
  }
}

function passedEntries(state: CprState): PassedEntry[] {
  return state.entries().map((entry) => ({ ...entry, what: describeOwnFd(entry.fd) }));
}

interface Relay {
  readonly source: number;
  /** Whose hang-up ends it. */
  readonly destination: number | undefined;
  /** Where each message goes on to at once. */
  readonly live: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
  /** Gets for each message what sets O_NONBLOCK of its fds again. */
  readonly guards: (() => number)[];
}

/** Receives the whole stream, and passes it on to `live`. Ends early if the destination hangs up. */
async function relayed({ source, destination, live, signal, timeoutMs, guards }: Relay): Promise<ReceivedStream> {
  const gone = new AbortController();
  const ended = new AbortController();
  const watch =
    destination === undefined
      ? undefined
      : waitHangup(destination, { signal: ended.signal }).then(
          () => gone.abort(),
          () => undefined,
        );
  const either = signal === undefined ? gone.signal : AbortSignal.any([signal, gone.signal]);
  const onMessage = async (message: Message) => {
    guards.push(guardNonblock(message.fds));
    if (live !== undefined)
      await sendMessages(live, splitMessage(message, maxFdsToQemu), { signal: either, timeoutMs });
  };
  try {
    const onFailure = () => {
      for (const restore of guards.splice(0)) restore();
    };
    return await receiveStream(source, { signal: either, timeoutMs, onMessage, onFailure });
  } catch (error) {
    if (!gone.signal.aborted) throw error;
    throw new CprkitError(
      "ERR_PEER",
      "the new QEMU hung up before it had the whole CPR state; the old one keeps running the guest",
      {
        cause: error,
      },
    );
  } finally {
    ended.abort();
    await watch;
  }
}

/** Reads the stream. One that cannot be read is an error when it must be translated, else only worth a warning. */
function understand(
  stream: ReceivedStream,
  must: boolean,
): { readonly loaded?: LoadedCpr; readonly warnings: readonly string[] } {
  try {
    // Numbers in the stream would be fds of this process, or of nobody: only what was passed may go on.
    const loaded = loadCprState(stream, { fdForm: "passed" });
    return { loaded, warnings: loaded.warnings };
  } catch (error) {
    if (!must && isCprkitError(error)) return { warnings: [`passed on unread: ${error.message}`] };
    throw error;
  }
}

async function firstHangup(
  source: number,
  destination: number,
  signal: AbortSignal | undefined,
  timeoutMs: number,
): Promise<"source" | "destination"> {
  const done = new AbortController();
  const wait = { signal: signal === undefined ? done.signal : AbortSignal.any([signal, done.signal]), timeoutMs };
  const waits = [
    // The old QEMU has ended its writing side already: only both directions shut mean that it is gone.
    waitHangup(source, { ...wait, halfClose: false }).then(() => "source" as const),
    waitHangup(destination, wait).then(() => "destination" as const),
  ];
  try {
    return await Promise.race(waits);
  } catch (error) {
    if (!isCprkitError(error) || error.code !== "ERR_TIMEOUT") throw error;
    throw new CprkitError(
      "ERR_TIMEOUT",
      `the state has passed, but neither QEMU has hung up within ${timeoutMs} ms: the new one does it when it is ready`,
      { cause: error },
    );
  } finally {
    done.abort();
    await Promise.allSettled(waits);
  }
}
