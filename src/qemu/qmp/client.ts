// A QMP client: one session with one QEMU over its monitor's UNIX socket.
// Rules: QEMU 10.0 docs/interop/qmp-spec.rst. Why no library: docs/decisions/0007-qmp-client.md.

import { randomBytes } from "node:crypto";
import { Socket } from "node:net";
import { z } from "zod";
import { closeFds, type HeldPeer, holdPeer, type PeerCredentials, type WaitOptions } from "../../linux/index.ts";
import { type Settle, waitFor } from "../../linux/wait/wait-for.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { connectMonitor } from "./connect.ts";
import { eventBudget } from "./event-budget.ts";
import { eventLog, type QmpEvents, qmpEventSchema } from "./events.ts";
import { qmpLines } from "./lines.ts";
import { type QmpCommand, type QmpReturn, qmpReturns, qmpVersionSchema } from "./schema.ts";

/** Where the monitor is: the path of its UNIX socket, or an fd connected to it, which the session then owns. */
export type QmpTarget = string | { readonly fd: number };

/** Options of {@link connectQmp}. `timeoutMs` (default 5 s) limits each step: connecting, greeting, negotiation. */
export interface ConnectQmpOptions extends WaitOptions {
  /**
   * Milliseconds to wait for the socket to appear, be listened on and have a place for one more client; default 0. A
   * cpr-transfer destination opens its monitor only when it has read the CPR state.
   */
  readonly waitMs?: number | undefined;
  /** Use out-of-band execution if QEMU offers it; default true. */
  readonly oob?: boolean | undefined;
  /** Time limit of a command that is given none, in ms; default 30 s. */
  readonly commandTimeoutMs?: number | undefined;
  /** How many events are kept to look back at; default 10,000. */
  readonly maxEvents?: number | undefined;
}

/** Options of one command. */
export interface ExecuteOptions extends WaitOptions {
  /** Run it out of band ("exec-oob"): before commands that wait. QEMU allows this for few commands. */
  readonly oob?: boolean | undefined;
}

/** What QEMU says of itself at the start. */
export interface QmpGreeting {
  /** QEMU's version. */
  readonly version: {
    readonly major: number;
    readonly minor: number;
    readonly micro: number;
    /** The packager's text, such as "Debian 1:10.0.2+ds-2"; may be "". */
    readonly package: string;
  };
  /** Offered capabilities, such as "oob". */
  readonly capabilities: readonly string[];
}

/** Why a session ended. */
export type QmpCloseReason =
  /** `close()` was called. */
  | { readonly kind: "closed" }
  /** QEMU hung up: it exited, or replaced itself (cpr-exec), or its monitor was removed. */
  | { readonly kind: "hangup"; readonly error: CprkitError }
  /** What arrived was not QMP. */
  | { readonly kind: "failed"; readonly error: CprkitError };

/** A session with one QEMU. */
export interface Qmp extends QmpEvents {
  /** What QEMU said of itself when the session began. */
  readonly greeting: QmpGreeting;
  /** The process that listens on the socket, normally QEMU, as SO_PEERCRED names it (unix(7)). */
  readonly peer: PeerCredentials;
  /** That process, held by a pidfd until the session ends. */
  readonly server: Omit<HeldPeer, "close">;
  /** True if out-of-band execution was offered and switched on. */
  readonly oob: boolean;
  /**
   * Runs a command and resolves with its return. Several may be on the way at once; QEMU runs them in order.
   *
   * @param args the command's arguments; a name that QEMU doesn't know is refused by it.
   * @throws CprkitError ERR_QMP_COMMAND when QEMU refuses it (`qmpClass`; `cause` is QEMU's {class, desc}).
   * ERR_TIMEOUT, ERR_ABORTED: QEMU may still carry it out; its late reply is dropped. ERR_QEMU_EXITED when QEMU
   * hung up first (for "quit" and cpr-exec that may be success). ERR_QMP when the return is not as described, the
   * session has failed, or out-of-band is not available.
   */
  execute<C extends QmpCommand | (string & {})>(
    command: C,
    args?: Readonly<Record<string, unknown>>,
    options?: ExecuteOptions,
  ): Promise<QmpReturn<C>>;
  /** Resolves, never rejects, when the session has ended and its fd is closed. */
  readonly closed: Promise<QmpCloseReason>;
  /** Hangs up. Commands and waits under way reject with ERR_ABORTED. QEMU itself runs on. */
  close(): Promise<void>;
  /** Calls `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Connects to a QMP monitor, reads its greeting and leaves negotiation mode.
 *
 * @throws CprkitError ERR_QMP when the socket can't be connected to (`errno`) or does not speak QMP; ERR_TIMEOUT when
 * no greeting comes, mostly because another client holds the monitor; ERR_QEMU_EXITED when QEMU hangs up meanwhile;
 * ERR_ABORTED. No fd is left open.
 */
export async function connectQmp(target: QmpTarget, options: ConnectQmpOptions = {}): Promise<Qmp> {
  const { timeoutMs = 5_000, waitMs = 0, signal, commandTimeoutMs = 30_000, maxEvents = 10_000 } = options;
  const label = typeof target === "string" ? target : `QMP on fd ${target.fd}`;
  const start = performance.now();
  const fd = typeof target === "string" ? await connectMonitor(target, { waitMs, timeoutMs, signal }) : target.fd;
  const { socket, server } = openSocket(fd);
  const session = openSession(socket, label, maxEvents);
  void session.closed.then(server.close);
  try {
    // A QEMU with thousands of memory backends listens long before it greets.
    const left = typeof target === "string" ? waitMs - (performance.now() - start) : 0;
    const greeting = await session.greet({ timeoutMs: Math.max(timeoutMs, left), signal });
    const oob = (options.oob ?? true) && greeting.capabilities.includes("oob");
    await session.negotiate(oob, { timeoutMs, signal });
    return {
      greeting,
      peer: server.credentials,
      server,
      oob,
      closed: session.closed,
      close: session.close,
      [Symbol.asyncDispose]: session.close,
      onEvent: session.log.onEvent,
      events: session.log.events,
      lastEventSeq: session.log.lastEventSeq,
      waitForEvent: session.log.waitForEvent,
      async execute(command, args, { oob: outOfBand = false, ...wait } = {}) {
        if (outOfBand && !oob) {
          throw new CprkitError("ERR_QMP", `${label}: "${command}" can't run out of band: not offered or switched off`);
        }
        const result = await session.send(command, args, outOfBand, {
          timeoutMs: wait.timeoutMs ?? commandTimeoutMs,
          signal: wait.signal,
        });
        return checked(label, command, result);
      },
    };
  } catch (error) {
    await session.close();
    throw error;
  }
}

const greetingSchema = z.looseObject({
  QMP: z.looseObject({ version: qmpVersionSchema, capabilities: z.array(z.string()) }),
});

const replySchema = z.union([
  z.looseObject({ return: z.unknown(), id: z.unknown().optional(), error: z.undefined().optional() }),
  z.looseObject({ error: z.looseObject({ class: z.string(), desc: z.string() }), id: z.unknown().optional() }),
]);

type Limits = WaitOptions & { readonly timeoutMs: number };
type Message = Readonly<Record<string, unknown>>;

interface Pending extends Settle<unknown> {
  readonly command: string;
}

interface Session {
  readonly log: ReturnType<typeof eventLog>;
  readonly closed: Promise<QmpCloseReason>;
  greet(limits: Limits): Promise<QmpGreeting>;
  negotiate(oob: boolean, limits: Limits): Promise<unknown>;
  send(command: string, args: Message | undefined, oob: boolean, limits: Limits): Promise<unknown>;
  close(): Promise<void>;
}

function openSession(socket: Socket, label: string, maxEvents: number): Session {
  const log = eventLog(label, maxEvents);
  const lines = qmpLines();
  const pending = new Map<string, Pending>();
  // An id that no earlier client of this monitor used: QEMU may hand us a reply that was meant for that client. Short, for
  // QEMU reads what it is asked byte by byte (QEMU 10.0 monitor/monitor.c, monitor_can_read): 3 to 4 us each.
  const prefix = randomBytes(3).toString("base64url");
  let sent = 0;
  let negotiated = false;
  let greeting: Message | undefined;
  let greeter: Settle<Message> | undefined;
  let ended: QmpCloseReason | undefined;
  let socketError: NodeJS.ErrnoException | undefined;

  const whyEnded = (reason: QmpCloseReason, doing: string): CprkitError => {
    if (reason.kind === "closed") return new CprkitError("ERR_ABORTED", `${label}: session closed while ${doing}`);
    return new CprkitError(reason.error.code, `${reason.error.reason}, while ${doing}`, { cause: reason.error });
  };

  const end = (reason: QmpCloseReason) => {
    if (ended !== undefined) return;
    ended = reason;
    socket.destroy();
    greeter?.reject(whyEnded(reason, "waiting for its greeting"));
    for (const { command, reject } of [...pending.values()]) {
      reject(whyEnded(reason, `command "${command}" was waiting for its reply`));
    }
    log.end((doing) => whyEnded(reason, doing));
  };

  const fail = (text: string, cause?: unknown) =>
    end({ kind: "failed", error: new CprkitError("ERR_QMP", `${label}: ${text}`, { cause }) });

  const onReply = (message: Message) => {
    const reply = replySchema.safeParse(message);
    if (!reply.success) return fail(`malformed reply: ${z.prettifyError(reply.error)}`);
    const { id, error } = reply.data;
    if (id === undefined && negotiated) {
      // QEMU leaves the id out only when it could not parse the command; whose reply this is can't be known.
      return fail(`reply without an id: ${JSON.stringify(message).slice(0, 200)}`);
    }
    const waiting = typeof id === "string" ? pending.get(id) : undefined;
    // Nobody's: late after a timeout, or left over from an earlier client.
    if (waiting === undefined) return;
    if (error === undefined) return waiting.resolve(reply.data.return);
    const text = `${label}: QEMU refused "${waiting.command}": ${error.desc} (${error.class})`;
    waiting.reject(new CprkitError("ERR_QMP_COMMAND", text, { qmpClass: error.class, cause: error }));
  };

  const takeEvent = eventBudget();
  const onMessage = (message: Message, bytes: number) => {
    if (ended !== undefined) return;
    if (greeting === undefined) {
      if (!("QMP" in message)) return fail(`expected QMP's greeting, found ${JSON.stringify(message).slice(0, 200)}`);
      greeting = message;
      greeter?.resolve(message);
    } else if ("event" in message) {
      takeEvent(bytes);
      const event = qmpEventSchema.safeParse(message);
      if (!event.success) return fail(`malformed event: ${z.prettifyError(event.error)}`);
      log.add(event.data, bytes);
    } else if ("return" in message || "error" in message) {
      onReply(message);
    } else {
      fail(`expected a reply or an event, found ${JSON.stringify(message).slice(0, 200)}`);
    }
  };

  socket.on("data", (chunk: Buffer) => {
    if (ended !== undefined) return;
    try {
      lines.push(chunk, onMessage);
    } catch (error) {
      if (error instanceof CprkitError) fail(error.reason, error);
      else fail("could not be read", error);
    }
  });
  socket.on("error", (error) => {
    socketError = error;
  });
  const closed = new Promise<QmpCloseReason>((resolve) => {
    socket.once("close", () => {
      const half = lines.unfinishedBytes() > 0 ? " in the middle of a message" : "";
      const text = `${label}: QEMU closed its monitor${half} (it exited, was killed, or replaced itself by cpr-exec)`;
      const reason: QmpCloseReason = ended ?? {
        kind: "hangup",
        error: new CprkitError("ERR_QEMU_EXITED", text, { errno: socketError?.code, cause: socketError }),
      };
      end(reason);
      resolve(reason);
    });
  });

  const send: Session["send"] = (command, args, oob, limits) => {
    const doing = `command "${command}" was waiting for its reply`;
    if (ended !== undefined) return Promise.reject(whyEnded(ended, `sending "${command}"`));
    const onTimeout = () =>
      `${label}: QEMU did not answer "${command}" within ${limits.timeoutMs} ms; it may still carry it out. ` +
      "Ask for its state (query-status, query-migrate) before the next step";
    if (limits.timeoutMs === 0) {
      return Promise.reject(new CprkitError("ERR_TIMEOUT", `${label}: no time left for "${command}": it was not sent`));
    }
    sent += 1;
    const id = `${prefix}${sent}`;
    const request = { [oob ? "exec-oob" : "execute"]: command, ...(args && { arguments: args }), id };
    let line: string;
    try {
      line = `${JSON.stringify(request)}\n`;
    } catch (cause) {
      const text = `${label}: the arguments of "${command}" can't be written as JSON: ${String(cause)}`;
      return Promise.reject(new CprkitError("ERR_QMP", text, { cause }));
    }
    return waitFor<unknown>(doing, limits, onTimeout, (settle) => {
      pending.set(id, { ...settle, command });
      writeSoon(line);
      return () => void pending.delete(id);
    });
  };

  /** What is asked in one go is one write: a machine is some thousand questions. */
  const writeSoon = (line: string) => {
    if (socket.writableCorked === 0) {
      socket.cork();
      process.nextTick(() => socket.uncork());
    }
    socket.write(line);
  };

  return {
    log,
    closed,
    send,
    async greet(limits) {
      const onTimeout = () =>
        `${label}: connected, but no QMP greeting within ${limits.timeoutMs} ms. Most likely another client holds ` +
        "this monitor (QEMU serves one at a time; others wait): close that one, or give QEMU a second -qmp socket. " +
        "Else QEMU is stopped or its main loop is blocked, or this is not a QMP monitor";
      const message = await waitFor<Message>("waiting for QMP's greeting", limits, onTimeout, (settle) => {
        greeter = settle;
        if (greeting !== undefined) settle.resolve(greeting);
        else if (ended !== undefined) settle.reject(whyEnded(ended, "waiting for its greeting"));
        return () => {
          greeter = undefined;
        };
      });
      const parsed = greetingSchema.safeParse(message);
      if (!parsed.success) {
        throw new CprkitError("ERR_QMP", `${label}: malformed greeting: ${z.prettifyError(parsed.error)}`);
      }
      const { version, capabilities } = parsed.data.QMP;
      const { major, minor, micro } = version.qemu;
      return { version: { major, minor, micro, package: version.package }, capabilities };
    },
    async negotiate(oob, limits) {
      await send("qmp_capabilities", oob ? { enable: ["oob"] } : undefined, false, limits);
      negotiated = true;
    },
    async close() {
      end({ kind: "closed" });
      await closed;
    },
  };
}

/** Takes `fd` over: closed with the socket, and at once when it can't be used. */
function openSocket(fd: number): { readonly socket: Socket; readonly server: HeldPeer } {
  let server: HeldPeer | undefined;
  try {
    server = holdPeer(fd);
    return { server, socket: new Socket({ fd, readable: true, writable: true }) };
  } catch (cause) {
    server?.close();
    closeFds([fd]);
    throw new CprkitError("ERR_QMP", `fd ${fd} is not a connected stream socket`, { cause });
  }
}

function checked<C extends string>(label: string, command: C, value: unknown): QmpReturn<C> {
  const schema = Object.hasOwn(qmpReturns, command) ? qmpReturns[command as QmpCommand] : z.unknown();
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const text = `${label}: "${command}" returned something unexpected: ${z.prettifyError(parsed.error)}`;
    throw new CprkitError("ERR_QMP", text.replaceAll("\n", "; "));
  }
  // The schema was picked by the same name as the type; the compiler can't follow that through a generic.
  return parsed.data as QmpReturn<C>;
}
