// What QEMU does with bytes that wait in a serial port, because nobody reads it, when its state is saved: it keeps them in
// the state, and writes them when the reader is back, even though another QEMU has loaded that state. So both write
// them. This is QEMU's own, with or without cprkit; it is written down in docs/reliability.md. CPRKIT_ROUNDS: default 2.
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import type { UpdateStep } from "../../src/qemu/update/steps.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import type { CprModeName } from "../../src/qemu/vm/binary.ts";
import { describeQemu } from "../support/qemu.ts";
import type { SerialLog } from "../support/serial-log.ts";
import { killAllVms, privateDir, startVm } from "../support/vm.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterAll(endAll);
afterAll(killAllVms);

const rounds = Number(process.env["CPRKIT_ROUNDS"] ?? 2);

interface Port {
  readonly path: string;
  /** So long that the socket is full. (Not pause(): Node would still read into a buffer of its own.) */
  leaveUnread(): Promise<void>;
  readAgain(): void;
  /** What is odd in the numbers that came. */
  odd(): Promise<string[]>;
}

async function openPort(): Promise<Port> {
  const path = join(privateDir(), "port");
  const sockets = new Set<Socket>();
  let [text, isRead] = ["", true];
  const set = (socket: Socket) => {
    const { _handle: handle } = socket as Socket & { readonly _handle?: { readStart(): void; readStop(): void } };
    if (isRead) handle?.readStart();
    else handle?.readStop();
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setEncoding("latin1");
    socket.on("data", (data: string) => {
      text += data;
    });
    socket.on("error", () => socket.destroy());
    setImmediate(() => set(socket));
  });
  await new Promise<void>((done) => server.listen(path, done));
  return {
    path,
    leaveUnread: async () => {
      await sleep(500);
      isRead = false;
      for (const socket of sockets) set(socket);
      await sleep(5_000);
    },
    readAgain: () => {
      isRead = true;
      for (const socket of sockets) set(socket);
    },
    odd: async () => {
      await sleep(1_000);
      for (const socket of sockets) socket.destroy();
      server.close();
      const lines = text.split("\n").slice(0, -1);
      return lines.filter((line, index) => line !== `T ${index}` && line !== `T ${index}\r`);
    },
  };
}

describeQemu("a serial port that nobody reads while the state is saved", ["10.0"], ({ "10.0": qemu }) => {
  const repeat = async (round: () => Promise<string[]>) => {
    const odd: string[][] = [];
    for (let number = 0; number < rounds; number++) odd.push(await round());
    return odd.filter((lines) => lines.length > 0).length;
  };

  describe("by QMP alone, without cprkit", () => {
    it.concurrent.each([
      ["before the new QEMU loads", rounds],
      ["when the new QEMU runs", rounds],
      ["when the old QEMU has ended", 0],
    ])("and is read again %s: odd in %d rounds", { timeout: rounds * 60_000 }, async (when, expected) => {
      const round = async () => {
        const port = await openPort();
        const dir = privateDir();
        // Of a log only the path is used.
        const serial = { path: port.path } as SerialLog;
        const options = { qemu, machine: "pc-q35-10.0", accel: "tcg", guest: "firmware", serial } as const;
        const prepare = async (path: string) => {
          const qmp = await connectQmp(path, { waitMs: 20_000 });
          await qmp.execute("migrate-set-parameters", { mode: "cpr-reboot" });
          return qmp;
        };
        const old = await startVm(options);
        const source = await prepare(old.qmpPath);
        await port.leaveUnread();
        const uri = `file:${dir}/state`;
        await source.execute("migrate", { uri });
        while ((await source.execute("query-status")).status !== "postmigrate") await sleep(5);
        if (when.startsWith("before")) port.readAgain();
        await sleep(200);
        const next = await startVm({ ...options, incoming: ["defer"] });
        const destination = await prepare(next.qmpPath);
        await destination.execute("migrate-incoming", { uri });
        while ((await destination.execute("query-status")).status !== "running") await sleep(5);
        if (when.startsWith("when the new")) port.readAgain();
        await sleep(200);
        await source.execute("quit").catch(() => undefined);
        await old.exited;
        port.readAgain();
        const odd = await port.odd();
        await destination.close();
        await Promise.all([old.kill(), next.kill()]);
        return odd;
      };
      expect(await repeat(round)).toBe(expected);
    });
  });

  it.concurrent.each<[CprModeName, UpdateStep, number]>([
    ["cpr-reboot", "loading", rounds],
    ["cpr-reboot", "done", 0],
    ["cpr-transfer", "running", rounds],
    ["cpr-transfer", "done", 0],
  ])(
    "by cprkit, %s, and is read again at %s: odd in %d rounds",
    { timeout: rounds * 60_000 },
    async (mode, at, expected) => {
      const round = async () => {
        const port = await openPort();
        const serialArgs = () => ["-serial", `unix:${port.path}`];
        const vm = await startUpdatable({ qemu, machine: "pc-q35-10.0", accel: "tcg", ram: "file", serialArgs });
        await port.leaveUnread();
        await updateVm(
          { qmp: vm.qmp },
          {
            stateDir: vm.stateDir,
            mode,
            onStep: async (step) => {
              if (step !== at) return;
              port.readAgain();
              // As long as a busy reader, or a busy machine, may take.
              await sleep(200);
            },
          },
        );
        const odd = await port.odd();
        await vm.end();
        return odd;
      };
      expect(await repeat(round)).toBe(expected);
    },
  );
});
