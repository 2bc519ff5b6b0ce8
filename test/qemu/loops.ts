// Clients that connect, over and over, to a socket of a VM, and note each connection that was refused.
import { connect, createServer, type NetConnectOpts } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface LoopReport {
  readonly count: number;
  /** Why a connection could not be made. */
  readonly refused: readonly string[];
  /** What a monitor said of the run state; "" where QEMU hung up. */
  readonly states: readonly string[];
}

/** Asks a QMP monitor for the run state, and hangs up, until it is ended. */
export function queryInLoop(to: NetConnectOpts): { end(): Promise<LoopReport> } {
  return inLoop(() => ask(to));
}

/** Connects to a serial port, stays a moment, and hangs up, until it is ended. What nobody reads would keep it connected. */
export function visitInLoop(to: NetConnectOpts): { end(): Promise<LoopReport> } {
  return inLoop(() => visit(to));
}

function inLoop(once: () => Promise<string>): { end(): Promise<LoopReport> } {
  let isOver = false;
  const report = { count: 0, refused: [] as string[], states: [] as string[] };
  const done = (async () => {
    while (!isOver) {
      const state = await once();
      if (state.startsWith("E")) report.refused.push(state);
      else report.states.push(state);
      report.count++;
      await sleep(1);
    }
  })();
  return {
    end: async () => {
      isOver = true;
      await done;
      return report;
    },
  };
}

/** The run state; "" if QEMU hung up; the error's code if the connection was refused. */
function ask(to: NetConnectOpts): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(to);
    let isConnected = false;
    let text = "";
    socket.setEncoding("utf8");
    socket.once("connect", () => {
      isConnected = true;
      socket.write('{"execute":"qmp_capabilities"}{"execute":"query-status"}');
    });
    socket.on("data", (more: string) => {
      text += more;
      const status = /"status": "(\w[\w-]*)"/.exec(text)?.[1];
      if (status === undefined) return;
      socket.destroy();
      resolve(status);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(isConnected ? "" : (error.code ?? "E?")));
    socket.once("close", () => resolve(""));
  });
}

/** "" however it ends; the error's code if the connection was refused. */
function visit(to: NetConnectOpts): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(to);
    let isConnected = false;
    socket.once("connect", () => {
      isConnected = true;
      setTimeout(() => socket.destroy(), 5);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(isConnected ? "" : (error.code ?? "E?")));
    socket.once("close", () => resolve(""));
  });
}

/** A TCP port of this host that nobody has. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}
