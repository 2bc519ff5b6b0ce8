// The QMP client against a scripted server on a real UNIX socket: everything a real QEMU does only when it goes wrong.

import { mkdtempSync, openSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isOpen, socketPair } from "../../src/linux/index.ts";
import { connectQmp, type Qmp } from "../../src/qemu/qmp/client.ts";
import type { QmpEvent } from "../../src/qemu/qmp/events.ts";
import { isCprkitError } from "../../src/vmstate/error.ts";

const greeting = {
  QMP: { version: { qemu: { major: 10, minor: 0, micro: 2 }, package: "test" }, capabilities: ["oob"] },
};

interface Request {
  readonly execute?: string;
  readonly "exec-oob"?: string;
  readonly arguments?: Record<string, unknown>;
  readonly id?: unknown;
}

type Script = (request: Request, client: Socket) => void;

const say = (client: Socket, ...messages: unknown[]) => {
  client.write(messages.map((message) => `${JSON.stringify(message)}\r\n`).join(""));
};

const event = (name: string, microseconds: number, data?: object) => ({
  event: name,
  ...(data && { data }),
  timestamp: { seconds: 1_700_000_000, microseconds },
});

let folder: string;
let path: string;
let server: Server | undefined;
let clients: Socket[];
let requests: Request[];
let fdsBefore: string[];

/** What each open fd is, sockets and files alike; the loop's own fds stay the same through a test. */
function openFds(): string[] {
  return readdirSync("/proc/self/fd")
    .flatMap((fd) => {
      try {
        return [`${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`];
      } catch {
        return []; // the fd of this very listing
      }
    })
    .sort();
}

/** Serves one monitor: greets, answers qmp_capabilities, hands every other request to `script`. */
async function serve(script: Script, greet: (client: Socket) => void = (client) => say(client, greeting)) {
  server = createServer((client) => {
    clients.push(client);
    client.on("error", () => {});
    let text = "";
    client.on("data", (chunk) => {
      text += chunk.toString("utf8");
      for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n")) {
        const request = JSON.parse(text.slice(0, at)) as Request;
        text = text.slice(at + 1);
        requests.push(request);
        if (request.execute === "qmp_capabilities") say(client, { return: {}, id: request.id });
        else script(request, client);
      }
    });
    greet(client);
  });
  await new Promise<void>((resolve) => server?.listen(path, resolve));
}

async function codeOf(promise: Promise<unknown>): Promise<{ code: string; message: string; qmpClass?: string }> {
  try {
    await promise;
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    const { code, message, qmpClass } = error;
    return { code, message, ...(qmpClass === undefined ? {} : { qmpClass }) };
  }
  throw new Error("expected a rejection");
}

beforeEach(() => {
  fdsBefore = openFds();
  folder = mkdtempSync(join(tmpdir(), "cprkit-qmp-"));
  path = join(folder, "qmp.sock");
  server = undefined;
  clients = [];
  requests = [];
});

afterEach(async () => {
  for (const client of clients) client.destroy();
  await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
  rmSync(folder, { recursive: true, force: true });
  await sleep(10);
  expect(openFds()).toEqual(fdsBefore);
});

async function withQmp(script: Script, body: (qmp: Qmp) => Promise<void>) {
  await serve(script);
  const qmp = await connectQmp(path, { timeoutMs: 5_000 });
  try {
    await body(qmp);
  } finally {
    await qmp.close();
  }
}

describe("connectQmp", () => {
  it("gives the greeting and switches out-of-band on where it is offered", async () => {
    await withQmp(
      () => {},
      async (qmp) => {
        expect(qmp.greeting).toEqual({
          version: { major: 10, minor: 0, micro: 2, package: "test" },
          capabilities: ["oob"],
        });
        expect(qmp.oob).toBe(true);
        expect(qmp.peer).toEqual({ pid: process.pid, uid: process.geteuid?.(), gid: process.getegid?.() });
        expect(requests[0]).toMatchObject({ execute: "qmp_capabilities", arguments: { enable: ["oob"] } });
      },
    );
  });

  it("does not ask for out-of-band when it is not offered, and refuses its use", async () => {
    const plain = { QMP: { ...greeting.QMP, capabilities: [] } };
    await serve(
      () => {},
      (client) => say(client, plain),
    );
    const qmp = await connectQmp(path);
    expect(requests[0]).not.toHaveProperty("arguments");
    const { code, message } = await codeOf(qmp.execute("migrate-pause", {}, { oob: true }));
    expect(code).toBe("ERR_QMP");
    expect(message).toContain("migrate-pause");
    await qmp.close();
  });

  it("takes over a connected fd, and closes it at the end", async () => {
    const [ours, theirs] = socketPair();
    const far = new Socket({ fd: theirs, readable: true, writable: true });
    clients.push(far);
    far.on("data", (chunk) => {
      const { id, execute } = JSON.parse(chunk.toString("utf8")) as Request;
      say(far, { return: execute === "qmp_capabilities" ? {} : execute, id });
    });
    say(far, greeting);
    const qmp = await connectQmp({ fd: ours });
    expect(await qmp.execute("x")).toBe("x");
    await qmp.close();
    // The session owned it.
    expect(isOpen(ours)).toBe(false);
  });

  it("ends a session with its block, also after an error", async () => {
    await serve(() => {});
    let closed: Qmp["closed"] | undefined;
    const work = async () => {
      await using qmp = await connectQmp(path);
      closed = qmp.closed;
      throw new Error("mine");
    };
    await expect(work()).rejects.toThrow("mine");
    expect(await closed).toEqual({ kind: "closed" });
  });

  it.each([
    ["a file", () => openSync("/dev/null", "r+")],
    ["closed", () => 1_000_000],
  ])("refuses an fd that is not a socket: %s", async (_, fd) => {
    const { code, message } = await codeOf(connectQmp({ fd: fd() }));
    expect(code).toBe("ERR_QMP");
    expect(message).toMatch(/fd \d+ is not a connected stream socket/);
  });

  it("waits for a socket that appears late", async () => {
    const connecting = connectQmp(path, { waitMs: 20_000 });
    await sleep(80);
    await serve(() => {});
    const qmp = await connecting;
    await qmp.close();
  });

  it("waits for a greeting that comes late, as long as for the socket", async () => {
    const connecting = connectQmp(path, { waitMs: 20_000, timeoutMs: 50 });
    await serve(
      () => {},
      (client) => void setTimeout(() => say(client, greeting), 400),
    );
    await (await connecting).close();
  });

  it("says what is wrong when there is no socket, or nobody listens", async () => {
    const absent = await codeOf(connectQmp(path));
    expect(absent.code).toBe("ERR_QMP");
    expect(absent.message).toContain(path);
    expect(absent.message).toContain("-qmp unix:PATH");
    const waited = await codeOf(connectQmp(path, { waitMs: 50 }));
    expect(waited.code).toBe("ERR_TIMEOUT");
    expect(waited.message).toContain("within 50 ms: there is no such socket");
    expect((await codeOf(connectQmp(path, { waitMs: -1 }))).code).toBe("ERR_VALUE");
    writeFileSync(path, "");
    expect((await codeOf(connectQmp(path))).message).toContain("nobody listens");
    rmSync(path);
    expect((await codeOf(connectQmp(`/${"x".repeat(200)}`))).message).toContain("107 bytes");
  });

  it("names the likely client that holds the monitor when no greeting comes", async () => {
    await serve(
      () => {},
      () => {},
    );
    const { code, message } = await codeOf(connectQmp(path, { timeoutMs: 50 }));
    expect(code).toBe("ERR_TIMEOUT");
    expect(message).toContain("another client holds");
  });

  it("recognises a human monitor", async () => {
    await serve(
      () => {},
      (client) => client.write("QEMU 10.0.2 monitor - type 'help' for more information\r\n(qemu) "),
    );
    const { code, message } = await codeOf(connectQmp(path));
    expect(code).toBe("ERR_QMP");
    expect(message).toContain("human monitor");
  });

  it("notices a QEMU that hangs up before it greets", async () => {
    await serve(
      () => {},
      (client) => client.destroy(),
    );
    expect((await codeOf(connectQmp(path))).code).toBe("ERR_QEMU_EXITED");
  });

  it("can be aborted while it waits for the socket, and while it waits for the greeting", async () => {
    const first = new AbortController();
    const waiting = codeOf(connectQmp(path, { waitMs: 20_000, signal: first.signal }));
    await sleep(30);
    first.abort();
    expect((await waiting).code).toBe("ERR_ABORTED");
    await serve(
      () => {},
      () => {},
    );
    const second = new AbortController();
    const greetingWait = codeOf(connectQmp(path, { signal: second.signal }));
    await sleep(30);
    second.abort();
    expect((await greetingWait).code).toBe("ERR_ABORTED");
    expect((await codeOf(connectQmp(path, { signal: AbortSignal.abort() }))).code).toBe("ERR_ABORTED");
  });
});

describe("execute", () => {
  it("matches replies to commands by id, also out of order", async () => {
    const held: Request[] = [];
    await withQmp(
      (request, client) => {
        held.push(request);
        if (held.length === 3) for (const { id, execute } of held.reverse()) say(client, { return: [execute], id });
      },
      async (qmp) => {
        const all = await Promise.all(["a", "b", "c"].map((name) => qmp.execute(name)));
        expect(all).toEqual([["a"], ["b"], ["c"]]);
      },
    );
  });

  it("sends arguments and exec-oob", async () => {
    await withQmp(
      (request, client) => say(client, { return: {}, id: request.id }),
      async (qmp) => {
        await qmp.execute("migrate-set-parameters", { mode: "cpr-transfer" });
        expect(requests.at(-1)).toMatchObject({
          execute: "migrate-set-parameters",
          arguments: { mode: "cpr-transfer" },
        });
        await qmp.execute("migrate-pause", undefined, { oob: true });
        expect(requests.at(-1)).toMatchObject({ "exec-oob": "migrate-pause" });
      },
    );
  });

  it("keeps fields it has no description of, and refuses a return that is not as described", async () => {
    let reply: unknown = { status: "running", running: true, future: [1] };
    await withQmp(
      (request, client) => say(client, { return: reply, id: request.id }),
      async (qmp) => {
        expect(await qmp.execute("query-status")).toEqual({ status: "running", running: true, future: [1] });
        reply = { status: 7 };
        const { code, message } = await codeOf(qmp.execute("query-status"));
        expect(code).toBe("ERR_QMP");
        expect(message).toContain("query-status");
        expect(message).toContain("status");
        // The session goes on, and an unknown command returns whatever comes.
        expect(await qmp.execute("x-unknown")).toEqual({ status: 7 });
      },
    );
  });

  it("tells QEMU's refusal with its class and the command", async () => {
    await withQmp(
      (request, client) =>
        say(client, {
          error: { class: "GenericError", desc: "There's a migration process in progress" },
          id: request.id,
        }),
      async (qmp) => {
        expect(await codeOf(qmp.execute("migrate", {}))).toEqual({
          code: "ERR_QMP_COMMAND",
          qmpClass: "GenericError",
          message: `${path}: QEMU refused "migrate": There's a migration process in progress (GenericError)`,
        });
      },
    );
  });

  it("times a command out, and does not take its late reply for another's", async () => {
    let late: Request | undefined;
    await withQmp(
      (request, client) => {
        if (request.execute === "slow") late = request;
        else say(client, { return: "late", id: late?.id }, { return: "own", id: request.id });
      },
      async (qmp) => {
        const { code, message } = await codeOf(qmp.execute("slow", {}, { timeoutMs: 30 }));
        expect(code).toBe("ERR_TIMEOUT");
        expect(message).toContain('"slow"');
        expect(await qmp.execute("quick")).toBe("own");
      },
    );
  });

  it("does not send a command when the time is over already, and refuses a negative time limit", async () => {
    await withQmp(
      () => {},
      async (qmp) => {
        const { code, message } = await codeOf(qmp.execute("stop", {}, { timeoutMs: 0 }));
        expect(code).toBe("ERR_TIMEOUT");
        expect(message).toContain("not sent");
        expect((await codeOf(qmp.execute("stop", {}, { timeoutMs: -1 }))).code).toBe("ERR_VALUE");
        await sleep(30);
        expect(requests.map(({ execute }) => execute)).toEqual(["qmp_capabilities"]);
      },
    );
  });

  it("can be aborted", async () => {
    await withQmp(
      () => {},
      async (qmp) => {
        const abort = new AbortController();
        const waiting = codeOf(qmp.execute("slow", {}, { signal: abort.signal }));
        abort.abort();
        expect((await waiting).code).toBe("ERR_ABORTED");
      },
    );
  });

  it("refuses arguments that JSON can't hold, and sends nothing", async () => {
    await withQmp(
      () => {},
      async (qmp) => {
        expect((await codeOf(qmp.execute("x", { size: 1n }))).code).toBe("ERR_QMP");
        expect(requests).toHaveLength(1);
      },
    );
  });

  it("rejects all that is under way, by name, when QEMU dies in the middle of a message", async () => {
    await withQmp(
      (request, client) => {
        if (request.execute === "second") client.end('{"return": {"half');
      },
      async (qmp) => {
        const [first, second, event] = await Promise.all([
          codeOf(qmp.execute("first")),
          codeOf(qmp.execute("second")),
          codeOf(qmp.waitForEvent("STOP")),
        ]);
        for (const { code } of [first, second, event]) expect(code).toBe("ERR_QEMU_EXITED");
        expect(first.message).toContain('"first"');
        expect(second.message).toContain('"second"');
        expect(second.message).toContain("in the middle of a message");
        expect(event.message).toContain('"STOP"');
        expect(await qmp.closed).toMatchObject({ kind: "hangup" });
        expect(await codeOf(qmp.execute("third"))).toMatchObject({ code: "ERR_QEMU_EXITED" });
      },
    );
  });

  it("rejects what is under way when the session is closed", async () => {
    await withQmp(
      () => {},
      async (qmp) => {
        const waiting = codeOf(qmp.execute("slow"));
        await qmp.close();
        expect((await waiting).code).toBe("ERR_ABORTED");
        expect(await qmp.closed).toEqual({ kind: "closed" });
        await qmp.close();
      },
    );
  });

  it.each([
    ["garbage", "garbage\r\n"],
    ["a number", "42\r\n"],
    ["invalid UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d, 0x0a])],
    ["neither reply nor event", '{"x":1}\n'],
    ["a malformed event", '{"event":"STOP"}\n'],
    ["a malformed error", '{"error":{"class":1},"id":"x"}\n'],
    ["a reply without an id", '{"error":{"class":"GenericError","desc":"JSON parse error"}}\n'],
    ["a second greeting", `${JSON.stringify(greeting)}\n`],
  ])("ends the session on %s", async (_, bytes) => {
    await withQmp(
      (_request, client) => client.write(bytes),
      async (qmp) => {
        const { code, message } = await codeOf(qmp.execute("query-status"));
        expect(code).toBe("ERR_QMP");
        expect(message).toContain('"query-status"');
        expect(await qmp.closed).toMatchObject({ kind: "failed" });
      },
    );
  });

  it("reads LF, empty lines, pretty printing, and UTF-8 that is cut anywhere", async () => {
    await withQmp(
      (request, client) => {
        const text = `\r\n${JSON.stringify({ return: "größe 🦆", id: request.id }, null, 4)}\n`;
        client.setNoDelay(true);
        void (async () => {
          for (const byte of Buffer.from(text)) {
            client.write(Buffer.of(byte));
            await new Promise(setImmediate);
          }
        })();
      },
      async (qmp) => {
        expect(await qmp.execute("x")).toBe("größe 🦆");
      },
    );
  });

  it("reads a long line", async () => {
    const long = "x".repeat(8 * 1024 * 1024);
    await withQmp(
      (request, client) => say(client, { return: long, id: request.id }),
      async (qmp) => {
        expect(await qmp.execute("x")).toBe(long);
      },
    );
  });
});

describe("events", () => {
  it("keeps events that came before anybody waited", async () => {
    await withQmp(
      (request, client) =>
        say(client, event("STOP", 5), event("RESUME", 9, { reason: "x" }), { return: {}, id: request.id }),
      async (qmp) => {
        const since = qmp.lastEventSeq();
        await qmp.execute("stop");
        const stop = await qmp.waitForEvent("STOP", { since });
        const resume = await qmp.waitForEvent((e) => e.name === "RESUME", { since: stop.seq });
        expect(stop).toEqual({ name: "STOP", data: {}, timeUs: 1_700_000_000_000_005, seq: 1 });
        expect(resume).toEqual({ name: "RESUME", data: { reason: "x" }, timeUs: 1_700_000_000_000_009, seq: 2 });
        expect(qmp.events()).toEqual([stop, resume]);
        // No time is needed for what has come.
        expect(await qmp.waitForEvent("STOP", { since, timeoutMs: 0 })).toEqual(stop);
        expect((await codeOf(qmp.waitForEvent("STOP", { timeoutMs: 0 }))).code).toBe("ERR_TIMEOUT");
        // Without `since` the past does not count.
        expect((await codeOf(qmp.waitForEvent("STOP", { timeoutMs: 30 }))).code).toBe("ERR_TIMEOUT");
      },
    );
  });

  it("gives a kept event also after QEMU is gone", async () => {
    await withQmp(
      (_, client) => {
        say(client, event("SHUTDOWN", 1));
        client.end();
      },
      async (qmp) => {
        await codeOf(qmp.execute("quit"));
        await qmp.closed;
        expect((await qmp.waitForEvent("SHUTDOWN", { since: 0 })).name).toBe("SHUTDOWN");
        expect((await codeOf(qmp.waitForEvent("SHUTDOWN"))).code).toBe("ERR_QEMU_EXITED");
      },
    );
  });

  it("calls listeners until they unsubscribe, and keeps only the newest events", async () => {
    await serve((request, client) => {
      say(client, ...[1, 2, 3, 4, 5].map((n) => event("RTC_CHANGE", n)), { return: {}, id: request.id });
    });
    const qmp = await connectQmp(path, { maxEvents: 3 });
    const seen: QmpEvent[] = [];
    const stop = qmp.onEvent((e) => seen.push(e));
    await qmp.execute("a");
    expect(seen.map((e) => e.seq)).toEqual([1, 2, 3, 4, 5]);
    expect(qmp.events().map((e) => e.seq)).toEqual([3, 4, 5]);
    stop();
    await qmp.execute("b");
    expect(seen).toHaveLength(5);
    expect(qmp.lastEventSeq()).toBe(10);
    await qmp.close();
  });

  it("keeps at most 4 MiB of events, however few they are", async () => {
    const large = { text: "x".repeat(500_000) };
    await serve((request, client) => {
      say(client, ...Array.from({ length: 20 }, (_, n) => event("LARGE", n, large)), { return: {}, id: request.id });
    });
    const qmp = await connectQmp(path);
    await qmp.execute("a");
    expect(qmp.lastEventSeq()).toBe(20);
    expect(qmp.events().map((e) => e.seq)).toEqual([13, 14, 15, 16, 17, 18, 19, 20]);
    await qmp.close();
  });

  it("ends the session with a monitor that sends an event which is too large", async () => {
    await serve((_request, client) => say(client, event("HUGE", 1, { text: "x".repeat(1024 * 1024) })));
    const first = await connectQmp(path);
    expect(await codeOf(first.execute("a"))).toMatchObject({
      code: "ERR_QMP",
      message: expect.stringMatching(/an event of \d+ bytes, above the limit of 1048576: this is not a QEMU/),
    });
    await first.close();
  });

  it("rejects a wait whose predicate throws, and goes on", async () => {
    await withQmp(
      (request, client) => say(client, event("STOP", 1), { return: {}, id: request.id }),
      async (qmp) => {
        const waiting = qmp.waitForEvent(() => {
          throw new Error("mine");
        });
        await Promise.all([expect(waiting).rejects.toThrow("mine"), qmp.execute("a")]);
        expect(qmp.events()).toHaveLength(1);
      },
    );
  });
});
