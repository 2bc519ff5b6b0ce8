// Pairs of machines of which the second refuses what the first has saved, and the reason that must be told. Run really.

import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Migration, readMigrationBytes, walkFields } from "../../src/migration/index.ts";
import { connectQmp } from "../../src/qemu/index.ts";

/** A pair that fails. */
export interface FailedLoad {
  readonly name: string;
  readonly source: string;
  readonly destination: string;
  /** Both, else. */
  readonly machine?: string;
  readonly memory?: readonly [number, number];
  readonly otherMachine?: string;
  /** Migration capability that is on at the source, and at the destination too if `both`. */
  readonly capability?: string;
  readonly both?: boolean;
  /** Changes the saved stream. */
  change?(bytes: Uint8Array, migration: Migration): Uint8Array;
  readonly code: string;
  readonly section?: string;
  /** Words of the explanation, with the stream at hand. */
  readonly says: readonly string[];
}

const drive = "-drive if=none,id=d,driver=null-co";

export const failedLoads: readonly FailedLoad[] = [
  {
    name: "fewer ports",
    source: "-device qemu-xhci,p2=8,p3=8",
    destination: "-device qemu-xhci,p2=4,p3=4",
    code: "missing-footer",
    section: "0000:00:01.0/xhci",
    says: ["arrays of other lengths"],
  },
  {
    name: "no such device",
    source: "-device virtio-rng-pci",
    destination: "",
    code: "unknown-section",
    section: "0000:00:01.0/virtio-rng",
    says: ['"virtio-rng" at the PCI address 0000:00:01.0'],
  },
  {
    name: "fewer CPUs",
    source: "-smp 3",
    destination: "-smp 1",
    code: "unknown-section",
    section: "cpu_common(1)",
    says: ["-smp 3"],
  },
  {
    name: "no card, and so no ROM",
    source: "-device e1000,addr=3",
    destination: "-device e1000,addr=4",
    code: "unknown-ram-block",
    section: "ram",
    says: ["option ROM of the device e1000 at 0000:00:03.0"],
  },
  {
    name: "memory backends of other ids",
    source: "-object memory-backend-ram,id=m1,size=32M -machine memory-backend=m1",
    destination: "-object memory-backend-ram,id=m2,size=32M -machine memory-backend=m2",
    code: "unknown-ram-block",
    says: ["memory-backend=m1"],
  },
  {
    name: "more RAM",
    source: "",
    destination: "",
    memory: [32, 64],
    code: "ram-size",
    says: ['"pc.ram" has 32 MiB in the stream and 64 MiB here'],
  },
  {
    name: "more video memory",
    source: "-device VGA,vgamem_mb=16",
    destination: "-device VGA,vgamem_mb=32",
    code: "ram-size",
    says: ["vgamem_mb"],
  },
  {
    name: "more vectors",
    source: "-device virtio-net-pci,vectors=3",
    destination: "-device virtio-net-pci,vectors=5",
    code: "pci-config",
    section: "0000:00:01.0/virtio-net",
    says: ["byte 0x9a", "msix control", "3 vectors in the stream and 5 here", "vectors=3"],
  },
  {
    name: "modern and transitional",
    source: "-device virtio-net-pci,disable-legacy=on",
    destination: "-device virtio-net-pci,disable-legacy=off,disable-modern=off",
    code: "pci-config",
    says: ["device_id", "disable-legacy"],
  },
  {
    name: "no MSI-X",
    source: `-device virtio-blk-pci,drive=d,vectors=2 ${drive}`,
    destination: `-device virtio-blk-pci,drive=d,vectors=0 ${drive}`,
    code: "pci-config",
    says: ["byte 0x34", "capabilities", "vectors="],
  },
  {
    name: "a port without hot-plugging",
    source: "-device pcie-root-port,id=r,slot=1,hotplug=on",
    destination: "-device pcie-root-port,id=r,slot=1,hotplug=off",
    code: "pci-config",
    says: ["express slot_capabilities", "hotplug="],
  },
  {
    name: "other subsystem ids",
    source: "-device e1000e",
    destination: "-device e1000e,subsys=7",
    code: "subsystem-ids",
    section: "0000:00:01.0/e1000e",
    says: ["subsys="],
  },
  {
    name: "a feature that the guest uses is off",
    source: "-device virtio-net-pci,mrg_rxbuf=on",
    destination: "-device virtio-net-pci,mrg_rxbuf=off",
    change: withFeature(0x8020n),
    code: "virtio-features",
    section: "0000:00:01.0/virtio-net",
    says: ["VIRTIO_NET_F_MRG_RXBUF (bit 15)", "mrg_rxbuf=on"],
  },
  {
    name: "other outputs",
    source: "-device virtio-gpu-pci,max_outputs=1",
    destination: "-device virtio-gpu-pci,max_outputs=2",
    code: "not-equal",
    section: "0000:00:01.0/virtio-gpu",
    says: ["0x1 in the stream and 0x2 here"],
  },
  {
    name: "no virtio port",
    source: "-device virtio-serial-pci -chardev null,id=c -device virtconsole,chardev=c",
    destination: "-device virtio-serial-pci",
    code: "field",
    section: "0000:00:01.0/virtio-console",
    says: ["virtconsole"],
  },
  {
    name: "another UUID",
    source: "-uuid 11111111-1111-1111-1111-111111111111",
    destination: "-uuid 22222222-2222-2222-2222-222222222222",
    capability: "validate-uuid",
    both: true,
    code: "uuid",
    says: ["-uuid 11111111-1111-1111-1111-111111111111"],
  },
  {
    name: "a capability of one side",
    source: "",
    destination: "",
    capability: "mapped-ram",
    code: "capability",
    says: ["mapped-ram is on in the stream and off here"],
  },
  {
    name: "another machine type",
    source: "",
    destination: "",
    otherMachine: "pc-i440fx-10.0",
    code: "machine-type",
    says: ["-machine pc-q35-10.0"],
  },
  {
    name: "a run state that is none",
    source: "",
    destination: "",
    change: (bytes) => replaced(bytes, "prelaunch\0", "prelunchx\0"),
    code: "run-state",
    section: "globalstate",
    says: ['"prelunchx"'],
  },
  {
    name: "a newer version of a section",
    source: "",
    destination: "",
    change: (bytes) => replaced(bytes, "\x03dma\0\0\0\0\0\0\0\x01", "\x03dma\0\0\0\0\0\0\0\x09"),
    code: "too-new",
    section: "dma",
    says: ["version 9", "up to 1"],
  },
  {
    name: "a cut file",
    source: "",
    destination: "",
    change: (bytes) => bytes.subarray(0, bytes.length >> 1),
    code: "input-ends",
    says: ["cut or damaged"],
  },
  {
    name: "no stream",
    source: "",
    destination: "",
    change: () => new TextEncoder().encode("this is something else\n"),
    code: "not-a-stream",
    says: ["cprkit inspect FILE"],
  },
  {
    name: "a damaged footer",
    source: "",
    destination: "",
    change: (bytes, { sections }) => {
      const changed = bytes.slice();
      const one = sections.find(({ name }) => name === "fw_cfg");
      if (one !== undefined) changed[one.offset + one.size - 1] = (changed[one.offset + one.size - 1] ?? 0) ^ 0x40;
      return changed;
    },
    code: "wrong-footer",
    section: "fw_cfg",
    says: ["ends with the mark of section"],
  },
];

/** Saves with the source and loads with the destination. What the destination printed, and the stream. */
export async function failToLoad(pair: FailedLoad, qemu: readonly [string, string], folder: string) {
  const { machine = "pc-q35-10.0", memory = [32, 32], capability, both = false } = pair;
  const path = join(folder, `${pair.name.replaceAll(" ", "-")}.mig`);
  const words = (text: string) => text.split(" ").filter((word) => word !== "");
  const common = ["-display", "none", "-serial", "none", "-nodefaults", "-S"];
  const capabilities = capability === undefined ? undefined : [{ capability, state: true }];

  const source = run(qemu[0], ["-M", machine, "-m", String(memory[0]), ...words(pair.source), ...common], path, "from");
  const saving = await connected(source.socket);
  if (capabilities !== undefined) await saving.execute("migrate-set-capabilities", { capabilities });
  await saving.execute("migrate", { uri: `file:${path}` });
  for (let done = false; !done; await delay(20)) {
    const { status } = (await saving.execute("query-migrate")) as { status?: string };
    done = status === "completed";
    if (status === "failed") throw new Error(`${pair.name}: the source could not save`);
  }
  await saving.execute("quit");
  saving.close();
  await source.ended;
  const saved = readFileSync(path);
  if (pair.change !== undefined) writeFileSync(path, pair.change(saved, readMigrationBytes(saved)));

  const arguments_ = [
    "-M",
    pair.otherMachine ?? machine,
    "-m",
    String(memory[1]),
    ...words(pair.destination),
    ...common,
  ];
  const destination = run(qemu[1], [...arguments_, "-incoming", "defer"], path, "to");
  const loading = await connected(destination.socket);
  if (both && capabilities !== undefined) await loading.execute("migrate-set-capabilities", { capabilities });
  await loading.execute("migrate-incoming", { uri: `file:${path}` }).catch(() => undefined);
  const ended = await Promise.race([destination.ended.then(() => true), delay(20_000).then(() => false)]);
  loading.close();
  destination.end();
  await destination.ended;
  const log = readFileSync(destination.log, "utf8");
  if (!ended) throw new Error(`${pair.name}: the destination did not refuse it: ${log}`);
  return { log, path };
}

/** Tries cpr-transfer between two QEMUs. What the source's monitor and the two QEMUs said. */
export async function failToUpdate(
  qemu: readonly [string, string],
  options: readonly [string, string],
  folder: string,
): Promise<string[]> {
  const [main, cpr] = [join(folder, "main"), join(folder, "cpr")];
  const channel = (type: string, path: string) => ({
    "channel-type": type,
    addr: { transport: "socket", type: "unix", path },
  });
  const common = ["-display", "none", "-serial", "none", "-nodefaults", "-S"];
  const incoming = ["-incoming", `unix:${main}`, "-incoming", JSON.stringify(channel("cpr", cpr))];
  const source = run(qemu[0], [...options[0].split(" "), ...common], join(folder, "from"), "from");
  const destination = run(qemu[1], [...options[1].split(" "), ...common, ...incoming], join(folder, "to"), "to");
  for (let tries = 0; !existsSync(cpr) && tries < 300; tries++) await delay(30);
  const qmp = await connected(source.socket);
  const said: string[] = [];
  try {
    await qmp.execute("migrate-set-parameters", { mode: "cpr-transfer" });
    await qmp.execute("migrate", { channels: [channel("main", main), channel("cpr", cpr)] });
    for (let status = ""; status !== "failed"; await delay(20)) {
      status = ((await qmp.execute("query-migrate")) as { status?: string }).status ?? "";
      if (status === "completed") throw new Error("the update did not fail");
    }
  } catch (error) {
    said.push(String(error));
  }
  await Promise.race([destination.ended, delay(3_000)]);
  qmp.close();
  for (const { end, ended } of [source, destination]) {
    end();
    await ended;
  }
  return [...said, readFileSync(source.log, "utf8"), readFileSync(destination.log, "utf8")];
}

let count = 0;

function run(qemu: string, words: readonly string[], path: string, side: string) {
  const log = `${path}.${side}.log`;
  // The path of a socket may not be long.
  const socket = join(path, "..", `q${count++}`);
  const fd = openSync(log, "w");
  const child = spawn(qemu, [...words, "-qmp", `unix:${socket},server=on,wait=off`], { stdio: ["ignore", fd, fd] });
  closeSync(fd);
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return { log, socket, ended, end: () => child.kill("SIGKILL") };
}

async function connected(socket: string) {
  for (let tries = 0; ; tries++) {
    try {
      return await connectQmp(socket);
    } catch (error) {
      if (tries > 300) throw error;
      await delay(30);
    }
  }
}

/** Sets the features that the guest of the only virtio device uses. */
function withFeature(features: bigint): NonNullable<FailedLoad["change"]> {
  return (bytes, { sections }) => {
    const changed = bytes.slice();
    const view = new DataView(changed.buffer, changed.byteOffset, changed.length);
    for (const section of sections) {
      for (const { path, field } of walkFields(section.fields)) {
        if (!path.startsWith("virtio/") || !path.endsWith("guest_features/bits")) continue;
        if (field.size === 4) view.setUint32(field.offset, Number(features));
        else view.setBigUint64(field.offset, features);
      }
    }
    return changed;
  };
}

function replaced(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const changed = Buffer.from(bytes);
  const at = changed.indexOf(Buffer.from(from, "latin1"));
  if (at < 0) throw new Error(`"${from}" is not in the stream`);
  changed.write(to, at, "latin1");
  return changed;
}
