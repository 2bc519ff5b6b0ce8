// VMs for the tests of live updates: each in a folder of its own, so that every QEMU that ever ran in it can be found.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connectQmp, type Qmp } from "../../src/qemu/qmp/client.ts";
import { answererOf } from "../../src/qemu/vm/answerer.ts";
import { bootDisk, bootFirmware } from "../guest/boot-sector.ts";
import { linuxGuest } from "../guest/linux-guest.ts";
import { usableAccel } from "../support/qemu.ts";
import { createSerialLog, type SerialLog } from "../support/serial-log.ts";
import { type Accel, isListening, privateDir } from "../support/vm.ts";

export interface UpdatableOptions {
  readonly qemu: string;
  readonly machine: string;
  readonly accel: Accel;
  /** Where guest RAM is; "file" is what cpr-reboot can leave in place, "folder" a file in it without a name; "plain" (-m alone) and "numa" (two private backends) and "huge" (private huge pages) CPR can't hand over. Default "memfd". */
  readonly ram?: "memfd" | "file" | "folder" | "plain" | "numa" | "huge";
  /** Who starts the guest: the guest's own firmware, or SeaBIOS, which numbers the PCI buses. Default "own". */
  readonly firmware?: "own" | "SeaBIOS";
  /** Linux with the counting init in 128 MiB, TCG; words for its command line. `net=` loads the modules for its card. */
  readonly linux?: string;
  /** With a virtio disk on a qcow2 image and a virtio network card. */
  readonly devices?: boolean;
  /** Words in place of the serial port that the test listens to, for example -serial file:PATH. */
  readonly serialArgs?: (dir: string) => readonly string[];
  readonly extraArgs?: (dir: string) => readonly string[];
  /** Words before the program, such as setpriv's. */
  readonly prefix?: readonly string[] | ((dir: string) => readonly string[]);
  /** Fds that QEMU gets, from its fd 3 on; closed here once it has them. */
  readonly given?: (dir: string) => readonly number[];
  /** QEMU's words, changed. */
  readonly rewrite?: (args: readonly string[], dir: string) => readonly string[];
  /** The user to whom the VM's folder belongs, and a state folder outside of it. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

export interface Updatable {
  readonly dir: string;
  readonly qmp: string;
  readonly stateDir: string;
  readonly serial: SerialLog;
  readonly child: ChildProcess;
  readonly pid: number;
  /** How long its start took. */
  readonly startMs: number;
  stderr(): string;
  /** Every living QEMU of this VM. */
  qemus(): number[];
  /** Ends every process of this VM and removes its folder. */
  end(): Promise<void>;
}

const vms = new Set<Updatable>();

/** Ends what a test left. */
export async function endAll(): Promise<void> {
  await Promise.all([...vms].map((vm) => vm.end()));
}

process.on("exit", () => {
  for (const { dir } of vms) for (const pid of processesIn(dir)) killQuietly(pid);
});

/** Starts a QEMU with the counting guest as firmware, and waits until it counts. */
export async function startUpdatable(options: UpdatableOptions): Promise<Updatable> {
  const dir = privateDir();
  const serial = await createSerialLog(join(dir, "serial.sock"));
  const qmp = join(dir, "qmp.sock");
  writeFileSync(join(dir, "guest.rom"), bootFirmware());
  writeFileSync(join(dir, "guest.img"), bootDisk());
  if (options.linux !== undefined) {
    writeFileSync(join(dir, "guest.initramfs"), linuxGuest(options.linux).initramfs);
  }
  if (options.devices === true) await createQcow2(options.qemu, dir);
  const written = argumentsOf(options, dir, serial.path, qmp);
  const args = options.rewrite?.(written, dir) ?? written;
  // A file, not a pipe: the test counts its own fds while this QEMU ends.
  const output = join(dir, "output");
  const fd = openSync(output, "w");
  const { owner } = options;
  const prefix = typeof options.prefix === "function" ? options.prefix(dir) : (options.prefix ?? []);
  for (const name of owner === undefined ? [] : ["", ...readdirSync(dir)]) {
    chownSync(join(dir, name), owner?.uid ?? 0, owner?.gid ?? 0);
  }
  const [program = "", ...words] = [...prefix, options.qemu, ...args];
  const given = options.given?.(dir) ?? [];
  const began = performance.now();
  let startMs = 0;
  const child = spawn(program, words, {
    stdio: ["ignore", fd, fd, ...given],
    cwd: owner === undefined ? undefined : closedDir(),
  });
  for (const each of [fd, ...given]) closeSync(each);
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const vm: Updatable = {
    dir,
    qmp,
    stateDir: join(owner === undefined ? dir : passableDir(), "state"),
    serial,
    child,
    pid: child.pid ?? 0,
    get startMs() {
      return startMs;
    },
    stderr: () => readFileSync(output, "utf8"),
    qemus: () => processesIn(dir),
    end: async () => {
      vms.delete(vm);
      for (const pid of processesIn(dir)) killQuietly(pid);
      await exited;
      while (processesIn(dir).length > 0) await sleep(5);
      await serial.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  vms.add(vm);
  if (options.serialArgs === undefined) await serial.waitForCount(5, options.linux === undefined ? 20_000 : 60_000);
  const end = performance.now() + 20_000;
  while (!isListening(qmp) && !(await answers(qmp))) {
    if (performance.now() > end || child.exitCode !== null) throw new Error(`QEMU does not listen: ${vm.stderr()}`);
    await sleep(5);
  }
  startMs = performance.now() - began;
  return vm;
}

/** For a QEMU in a network namespace of its own, whose sockets are not listed here. */
async function answers(qmp: string): Promise<boolean> {
  try {
    await (await connectQmp(qmp)).close();
    return true;
  } catch {
    return false;
  }
}

/** A folder that another user can be in, but can't go to. */
function closedDir(): string {
  const dir = privateDir();
  chmodSync(dir, 0o700);
  return dir;
}

/** A folder of ours that another user can pass through. */
function passableDir(): string {
  const dir = privateDir();
  chmodSync(dir, 0o711);
  return dir;
}

/** A q35 of 10.0 with the fastest accelerator that there is. */
export async function startPlain(qemu: string, extraArgs?: UpdatableOptions["extraArgs"]): Promise<Updatable> {
  const accel = await usableAccel(qemu);
  return startUpdatable({ qemu, machine: "pc-q35-10.0", accel, ...(extraArgs === undefined ? {} : { extraArgs }) });
}

function argumentsOf(options: UpdatableOptions, dir: string, serialPath: string, qmp: string): string[] {
  const { machine, accel, ram = "memfd", devices = false, firmware = "own" } = options;
  const size = options.linux === undefined ? "32" : "128";
  const boot =
    options.linux !== undefined
      ? [
          ...["-kernel", linuxGuest().kernel, "-initrd", join(dir, "guest.initramfs")],
          ...["-append", `console=ttyS0 quiet panic=-1 random.trust_cpu=on ${options.linux}`],
        ]
      : firmware === "own"
        ? ["-bios", join(dir, "guest.rom")]
        : ["-drive", `file=${join(dir, "guest.img")},format=raw,if=none,id=boot`, "-device", "ide-hd,drive=boot"];
  const backend =
    ram === "memfd"
      ? `memory-backend-memfd,id=ram0,size=${size}M,share=on`
      : `memory-backend-file,id=ram0,size=${size}M,share=on,mem-path=${ram === "file" ? join(dir, "ram") : dir}`;
  const shared = ram !== "plain" && ram !== "numa" && ram !== "huge";
  const nodes = ["m0", "m1"].flatMap((id) => [
    ...["-object", `memory-backend-ram,id=${id},size=${Number(size) / 2}M`, "-numa", `node,memdev=${id}`],
  ]);
  const huge = ["-object", `memory-backend-memfd,id=ram0,size=${size}M,hugetlb=on,hugetlbsize=2M,share=off`];
  const memory = {
    memfd: ["-object", backend],
    file: ["-object", backend],
    folder: ["-object", backend],
    numa: nodes,
    huge,
    plain: [],
  }[ram];
  const suffix = machine.startsWith("microvm") ? "device" : "pci";
  const chardev = ["-chardev", `socket,id=serial0,path=${serialPath}`, "-serial", "chardev:serial0"];
  return [
    [
      "-machine",
      `${machine},accel=${accel}${shared ? ",memory-backend=ram0,aux-ram-share=on" : ram === "huge" ? ",memory-backend=ram0" : ""}`,
      "-m",
      size,
      ...memory,
    ],
    ["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", ...boot],
    options.serialArgs?.(dir) ?? chardev,
    ["-qmp", `unix:${qmp},server=on,wait=off`],
    devices
      ? [
          ["-blockdev", `driver=file,node-name=file0,filename=${join(dir, "disk.qcow2")}`],
          ["-blockdev", "driver=qcow2,node-name=disk0,file=file0"],
          ["-device", `virtio-blk-${suffix},drive=disk0,id=blk0`],
          ["-netdev", "user,id=net0", "-device", `virtio-net-${suffix},netdev=net0,id=nic0`],
        ].flat()
      : [],
    options.extraArgs?.(dir) ?? [],
  ].flat();
}

/** Who connects while QEMU starts may be greeted twice, or after an event (seen under load); a second connection is not. */
export function connectStarting(socket: string): Promise<Qmp> {
  return connectQmp(socket, { waitMs: 10_000 }).catch(() => connectQmp(socket, { waitMs: 10_000 }));
}

/** Makes an empty qcow2 image of 16 MiB, as QEMU itself does it. */
export async function createQcow2(qemu: string, dir: string): Promise<void> {
  const path = join(dir, "disk.qcow2");
  const socket = join(dir, "create.sock");
  const child = spawn(
    qemu,
    ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", `unix:${socket},server=on,wait=off`],
    {
      stdio: "ignore",
    },
  );
  const exited = new Promise((resolve) => child.once("close", resolve));
  const qmp = await connectStarting(socket);
  try {
    const job = async (id: string, options: Record<string, unknown>) => {
      const since = qmp.lastEventSeq();
      await qmp.execute("blockdev-create", { "job-id": id, options });
      const concluded = ({ name, data }: { name: string; data: Record<string, unknown> }) =>
        name === "JOB_STATUS_CHANGE" && data["id"] === id && data["status"] === "concluded";
      await qmp.waitForEvent((event) => concluded({ name: event.name, data: event.data }), { since });
      await qmp.execute("job-dismiss", { id });
    };
    await job("file", { driver: "file", filename: path, size: 0 });
    await qmp.execute("blockdev-add", { driver: "file", "node-name": "f", filename: path });
    await job("image", { driver: "qcow2", file: "f", size: 16 * 1024 * 1024 });
    await qmp.execute("quit").catch(() => undefined);
  } finally {
    await qmp.close();
    child.kill("SIGKILL");
    await exited;
  }
  if (!existsSync(path)) throw new Error("no qcow2 image was made");
}

/** Works on a monitor of the VM, and hangs up. */
export async function ask<T>(vm: Updatable, work: (qmp: Qmp) => Promise<T>): Promise<T> {
  const qmp = await connectQmp(vm.qmp);
  try {
    return await work(qmp);
  } finally {
    await qmp.close();
  }
}

/** Of 8 MiB of guest RAM from 16 MiB on, as QEMU itself reads it. */
export function fingerprint(vm: Updatable): Promise<string> {
  const file = join(vm.dir, "saved");
  return ask(vm, async (qmp) => {
    await qmp.execute("pmemsave", { val: 16 << 20, size: 8 << 20, filename: file });
    const bytes = readFileSync(file);
    rmSync(file);
    return createHash("sha256").update(bytes).digest("hex");
  });
}

/** Runs qemu-io's command on the disk of the running VM and returns what it printed. */
export async function diskIo(vm: Updatable, command: string): Promise<string> {
  const qmp = await connectQmp(vm.qmp);
  try {
    return await qmp.execute("human-monitor-command", { "command-line": `qemu-io disk0 "${command}"` });
  } finally {
    await qmp.close();
  }
}

/** What each living QEMU of the VM says of the guest, by its pid; "silent" if its monitor does not answer. */
export async function runStates(vm: Updatable): Promise<Map<number, string>> {
  const states = new Map<number, string>();
  const pids = new Set(vm.qemus());
  const sockets = readdirSync(vm.dir).flatMap((name) => (name.startsWith("qmp.sock") ? [join(vm.dir, name)] : []));
  for (const path of [...sockets, ...ownMonitors(vm)]) {
    try {
      const qmp = await connectQmp(path, { timeoutMs: 2_000 });
      const { status } = await qmp.execute("query-status");
      const pid = answererOf(qmp)?.pid;
      await qmp.close();
      if (pid !== undefined && pids.has(pid)) states.set(pid, status);
    } catch {
      // Nobody there: a stale path, or a link to one.
    }
  }
  for (const pid of pids) if (!states.has(pid)) states.set(pid, "silent");
  return states;
}

/** Living processes, zombies not among them, with the folder in their command line. */
function processesIn(dir: string): number[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return [];
    try {
      const isQemu = readFileSync(`/proc/${name}/cmdline`, "utf8").includes(`${dir}/guest.`);
      const isZombie = / [ZX] /.test(readFileSync(`/proc/${name}/stat`, "utf8").replace(/^.*\)/s, ""));
      // The setsid(1) that stands before a new one has its words.
      const isBetween = readFileSync(`/proc/${name}/comm`, "utf8").trim() === "setsid";
      return isQemu && !isZombie && !isBetween ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

/** Sockets of the monitors that cprkit has in new QEMUs while an update is under way. */
function ownMonitors({ stateDir }: Updatable): string[] {
  if (!existsSync(stateDir)) return [];
  const names = readdirSync(stateDir, { recursive: true, encoding: "utf8" });
  return names.flatMap((name) => (basename(name) === "q" ? [join(stateDir, name)] : []));
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Gone by itself.
  }
}
