// The demo's VM: a real QEMU with a guest that counts on its serial port, a number about every 10 ms. The port leads
// here, so that each number has the time at which it came, whichever QEMU runs the guest.

import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { closeFd, openPidfd, signalPidfd, waitExit } from "../../linux/index.ts";
import { connectQmp } from "../../qemu/qmp/client.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { guestFirmware } from "./guest-firmware.ts";

/** A number that the guest counted, and when its line had come: milliseconds since 1970. */
export interface Count {
  readonly value: number;
  readonly at: number;
}

export interface CountingVm {
  /** Where QEMU's monitor listens. */
  readonly qmp: string;
  /** Of the VM's own, with mode 0700; removed by end(). */
  readonly folder: string;
  /** All numbers so far, of every QEMU that has run the guest. */
  readonly counts: readonly Count[];
  /** Waits until the guest has counted `more` numbers from now. @throws CprkitError ERR_TIMEOUT, ERR_QEMU_EXITED, ERR_ABORTED */
  counted(more: number, signal: AbortSignal): Promise<void>;
  /** From now on the process `pid` runs the guest. */
  runsIn(pid: number): void;
  /** Ends whatever QEMU runs the guest, and removes all files. */
  end(): Promise<void>;
}

/** Numbers that show that a guest runs. */
const enough = 20;

/**
 * Starts the VM in `qemu` and waits until its guest counts. A KVM that starts a guest and then does not run it (as
 * inside other VMs) is left for emulation.
 *
 * @throws CprkitError ERR_QEMU_EXITED, ERR_TIMEOUT, ERR_ABORTED
 */
export async function startCountingVm(qemu: string, signal: AbortSignal): Promise<CountingVm> {
  try {
    return await startWith(["kvm", "tcg"], 5_000, qemu, signal);
  } catch (error) {
    if (!(error instanceof CprkitError) || error.code !== "ERR_TIMEOUT") throw error;
    return await startWith(["tcg"], 20_000, qemu, signal);
  }
}

async function startWith(
  accels: readonly string[],
  timeoutMs: number,
  qemu: string,
  signal: AbortSignal,
): Promise<CountingVm> {
  const folder = await mkdtemp(join(tmpdir(), "cprkit-vm-"));
  const at = (name: string) => join(folder, name);
  writeFileSync(at("guest.bin"), guestFirmware());
  const serial = await listenForCounts(at("serial"));
  const child = spawn(qemu, vmArguments(accels, at("guest.bin"), at("serial"), at("qmp")), {
    stdio: ["ignore", "ignore", "pipe"],
    // Ctrl-C in a terminal is for us alone: a QEMU that ended by itself would look like one that failed.
    detached: true,
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    if (said.length < maxSaid) said += text;
  });
  child.on("error", (error) => {
    said += error.message;
  });
  // Held by a pidfd, so that nobody else is ended in its place; -1: none.
  let pidfd = child.pid === undefined ? -1 : openPidfd(child.pid);
  // The first process; those that follow are watched by the update.
  let first = true;
  const release = () => {
    if (pidfd >= 0) closeFd(pidfd);
    pidfd = -1;
  };

  const vm: CountingVm = {
    qmp: at("qmp"),
    folder,
    counts: serial.counts,
    counted: (more, stop) => counted(more, 20_000, stop),
    runsIn: (pid) => {
      release();
      first = false;
      pidfd = openPidfd(pid);
    },
    end: async () => {
      if (pidfd >= 0 && signalPidfd(pidfd, "SIGKILL")) await waitExit(pidfd);
      release();
      await quit(at("qmp"));
      await serial.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };

  async function counted(more: number, waitMs: number, stop: AbortSignal): Promise<void> {
    const end = performance.now() + waitMs;
    const wanted = serial.counts.length + more;
    while (serial.counts.length < wanted) {
      if (first && (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)) {
        const how = child.signalCode ?? `exit code ${child.exitCode ?? "none"}`;
        throw new CprkitError("ERR_QEMU_EXITED", `QEMU ended with ${how} before its guest counted: ${said.trim()}`);
      }
      if (performance.now() > end) throw new CprkitError("ERR_TIMEOUT", `the guest did not count within ${waitMs} ms`);
      if (stop.aborted) throw new CprkitError("ERR_ABORTED", "the demo was aborted", { cause: stop.reason });
      await delay(10);
    }
  }

  try {
    await counted(enough, timeoutMs, signal);
    return vm;
  } catch (error) {
    await vm.end();
    throw error;
  }
}

/** Ends a QEMU that an update has put in place before it failed: nobody else listens there. */
async function quit(qmp: string): Promise<void> {
  try {
    const monitor = await connectQmp(qmp);
    await monitor.execute("quit");
    await monitor.closed;
  } catch {
    // There is none.
  }
}

/** Characters of a QEMU's own messages that are kept for an error. */
const maxSaid = 4096;

function vmArguments(accels: readonly string[], guest: string, serial: string, qmp: string): string[] {
  return [
    ...accels.flatMap((accel) => ["-accel", accel]),
    ...["-machine", "q35,memory-backend=ram0,aux-ram-share=on", "-m", "32"],
    ...["-object", "memory-backend-memfd,id=ram0,size=32M,share=on", "-bios", guest, "-nodefaults", "-display", "none"],
    ...["-chardev", `socket,id=serial0,path=${serial}`, "-serial", "chardev:serial0"],
    ...["-qmp", `unix:${qmp},server=on,wait=off`],
  ];
}

/** Takes the serial ports of one QEMU after the other: one may begin a line that the next one ends. */
async function listenForCounts(path: string) {
  const counts: Count[] = [];
  const sockets = new Set<Socket>();
  let rest = "";
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.setEncoding("latin1");
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (text: string) => {
      const at = performance.timeOrigin + performance.now();
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const value = /^T (\d+)\r?$/.exec(line)?.[1];
        if (value !== undefined) counts.push({ value: Number(value), at });
      }
    });
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
  return {
    counts,
    close: () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
