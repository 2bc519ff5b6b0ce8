// Starts real QEMU processes with a counting guest, ready for a CPR update, and ends them by their process.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listeningUnixSockets } from "../../src/linux/index.ts";
import { bootDisk, bootFirmware } from "../guest/boot-sector.ts";
import { linuxGuest } from "../guest/linux-guest.ts";
import { createSerialLog, type SerialLog } from "./serial-log.ts";

export type Accel = "kvm" | "tcg";

/**
 * What runs in the machine: our counting program as firmware (starts at once) or from a disk behind SeaBIOS, Linux
 * with the counting init (use TCG: a limited KVM may not boot it), or SeaBIOS with nothing to boot.
 */
export type Guest = "firmware" | "boot-sector" | "linux" | "none";

export interface VmOptions {
  /** Path of the QEMU program, as findQemu gives it. */
  readonly qemu: string;
  /** For example pc-q35-10.0, pc-i440fx-10.0, microvm. */
  readonly machine: string;
  readonly accel: Accel;
  readonly guest: Guest;
  /** Guest RAM in MiB: 32, or 256 for Linux, unless told. */
  readonly memoryMb?: number;
  /** Further memory backends of 4 KiB with the ids extra0, extra1 …: each is one more fd that CPR carries. */
  readonly extraBackends?: number;
  /** The values of -incoming, for a destination. */
  readonly incoming?: readonly string[];
  /** Words for the Linux guest's command line, for example tick_us=5000 or touch_mb=8. */
  readonly kernelArgs?: string;
  readonly extraArgs?: readonly string[];
  /** Folder for sockets and images; a private one is made, and removed by kill, when it is left out. */
  readonly dir?: string;
  /** A log that several processes share (cpr-exec, a destination with the source's own arguments). */
  readonly serial?: SerialLog;
}

interface VmExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Vm {
  readonly pid: number;
  readonly process: ChildProcess;
  /** QEMU's whole command line, without the program itself. */
  readonly args: readonly string[];
  /** The QMP socket: a new path for each process. A destination listens on it only once its CPR state has come. */
  readonly qmpPath: string;
  readonly dir: string;
  readonly serial: SerialLog;
  readonly exited: Promise<VmExit>;
  /** All that QEMU wrote to stdout and stderr. */
  stderr(): string;
  /**
   * Waits until QEMU listens on a UNIX socket: its QMP socket unless told otherwise. Never connects: the first
   * connection to a CPR or main channel is the only one that counts.
   * @throws {Error} QEMU exited, or `timeoutMs` passed (10 s unless told)
   */
  listening(path?: string, timeoutMs?: number): Promise<void>;
  /** Ends the process with SIGKILL if it still runs, closes its serial log, removes its private folder. */
  kill(): Promise<void>;
}

const running = new Set<Vm>();
const privateDirs = new Set<string>();
let serialNumber = 0;

// The last net: a test process that ends early takes its QEMUs along.
process.on("exit", () => {
  for (const vm of running) vm.process.kill("SIGKILL");
  removePrivateDirs();
});

/** A folder of mode 0700 for sockets, with a path short enough for them; killAllVms removes it. */
export function privateDir(): string {
  const dir = mkdtempSync(join(tmpdir(), "cprkit-"));
  privateDirs.add(dir);
  return dir;
}

/** Ends every QEMU that startVm started in this process, and removes the private folders made in it. */
export async function killAllVms(): Promise<void> {
  await Promise.all([...running].map((vm) => vm.kill()));
  removePrivateDirs();
}

function removePrivateDirs(): void {
  for (const dir of privateDirs) rmSync(dir, { recursive: true, force: true });
  privateDirs.clear();
}

/**
 * Starts QEMU with all of its RAM in shareable memory files (`aux-ram-share=on`, `memory-backend-memfd,share=on`), as
 * CPR needs it. Returns as soon as the process exists: wait with `serial.waitForCount` or `listening`.
 *
 * @throws {Error} the program can't be started
 */
export async function startVm(options: VmOptions): Promise<Vm> {
  const dir = options.dir ?? privateDir();
  const number = ++serialNumber;
  const serial = options.serial ?? (await createSerialLog(join(dir, `serial${number}.sock`)));
  const qmpPath = join(dir, `qmp${number}.sock`);
  const args = qemuArguments(options, dir, serial.path, qmpPath);
  const child = spawn(options.qemu, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const exited = new Promise<VmExit>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  try {
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", reject);
    });
  } catch (error) {
    if (options.serial === undefined) await serial.close();
    throw error;
  }
  if (child.pid === undefined) throw new Error(`${options.qemu} has no process id`);
  const isOver = () => child.exitCode !== null || child.signalCode !== null;

  const vm: Vm = {
    pid: child.pid,
    process: child,
    args,
    qmpPath,
    dir,
    serial,
    exited,
    stderr: () => output,
    listening: async (path = qmpPath, timeoutMs = 10_000) => {
      const end = performance.now() + timeoutMs;
      while (!isListening(path)) {
        if (isOver()) throw new Error(`QEMU exited before it listened on ${path}: ${output.trim()}`);
        if (performance.now() > end)
          throw new Error(`QEMU did not listen on ${path} within ${timeoutMs} ms: ${output}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    kill: async () => {
      if (!isOver()) child.kill("SIGKILL");
      await exited;
      running.delete(vm);
      if (options.serial === undefined) {
        await serial.drained(1000).catch(() => {});
        await serial.close();
      }
      if (options.dir === undefined) {
        rmSync(dir, { recursive: true, force: true });
        privateDirs.delete(dir);
      }
    },
  };
  running.add(vm);
  return vm;
}

/** Whether any process listens on this UNIX socket, told by the kernel without connecting. */
export function isListening(path: string): boolean {
  return listeningUnixSockets().some((socket) => socket.path === path);
}

function qemuArguments(options: VmOptions, dir: string, serialPath: string, qmpPath: string): string[] {
  const memoryMb = options.memoryMb ?? (options.guest === "linux" ? 256 : 32);
  const backends = Array.from({ length: options.extraBackends ?? 0 }, (_, index) => [
    "-object",
    `memory-backend-memfd,id=extra${index},size=4096,share=on`,
  ]);
  return [
    ["-machine", `${options.machine},accel=${options.accel},memory-backend=ram0,aux-ram-share=on`],
    ["-m", String(memoryMb)],
    ["-object", `memory-backend-memfd,id=ram0,size=${memoryMb}M,share=on`],
    ["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"],
    ["-chardev", `socket,id=serial0,path=${serialPath}`, "-serial", "chardev:serial0"],
    ["-qmp", `unix:${qmpPath},server=on,wait=off`],
    guestArguments(options, dir),
    ...backends,
    ...(options.incoming ?? []).map((value) => ["-incoming", value]),
    options.extraArgs ?? [],
  ].flat();
}

function guestArguments({ guest, machine, kernelArgs }: VmOptions, dir: string): string[] {
  switch (guest) {
    case "none":
      return [];
    case "firmware":
      return ["-bios", image(dir, "guest.rom", bootFirmware)];
    case "boot-sector": {
      const drive = `if=none,id=boot,format=raw,readonly=on,file=${image(dir, "guest.img", bootDisk)}`;
      const device = machine.startsWith("microvm") ? "virtio-blk-device" : "virtio-blk-pci";
      return ["-drive", drive, "-device", `${device},drive=boot,bootindex=0`];
    }
    case "linux": {
      const { kernel, initramfs } = linuxGuest();
      const append = `console=ttyS0 quiet panic=-1 ${kernelArgs ?? ""}`.trim();
      return ["-kernel", kernel, "-initrd", image(dir, "initramfs.cpio.gz", () => initramfs), "-append", append];
    }
  }
}

/** Written once a folder, so that source and destination use the same file. */
function image(dir: string, name: string, make: () => Uint8Array): string {
  const path = join(dir, name);
  if (!existsSync(path)) writeFileSync(path, make());
  return path;
}
