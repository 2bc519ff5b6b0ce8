// Random things that people do to a running VM over QMP, and a model of what they set. The model is the test's own: it is
// compared with what QEMU says afterwards, not with what the code under test has read.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import type { Qmp } from "../../src/qemu/qmp/client.ts";
import type { Random } from "../support/random.ts";

/** What was set. */
export interface Model {
  /** The disc in the drive: a path, "empty". */
  disc: string;
  trayOpen: boolean;
  /** By disk: I/O limits that are not 0. */
  readonly limits: Map<string, Record<string, number>>;
  /** By disk: the files of the chain, from the active layer down. */
  readonly chains: Map<string, string[]>;
  /** By disk: the nodes of its snapshots. */
  readonly overlays: Map<string, string[]>;
  /** By disk: the node of the lowest layer. */
  readonly bases: Map<string, string>;
  /** By disk: the node that the device has. */
  readonly tops: Map<string, string>;
  /** Devices that were plugged in, by id, with their type. */
  readonly devices: Map<string, string>;
  /** By id of object, character device, network back end, node that hangs nowhere: its type or driver. */
  readonly objects: Map<string, string>;
  readonly chardevs: Map<string, string>;
  readonly netdevs: Map<string, string>;
  readonly nodes: Map<string, string>;
  /** By "NODE/NAME": its sha256. */
  readonly bitmaps: Map<string, string>;
  readonly parameters: Map<string, number>;
  pollingInterval: number;
  /** Numbers used for new names. */
  next: number;
  readonly log: string[];
}

/** The disks that {@link sequenceArguments} gives the VM, by the id of their device, with their nodes. */
const disks = { blk0: "disk0", hd0: "disk1" } as const;

/** Options of the VM that is worked on. */
export function sequenceArguments(dir: string): string[] {
  return [
    ["-device", "pcie-root-port,id=rp1,chassis=1", "-device", "pcie-root-port,id=rp2,chassis=2,addr=9"],
    ["-device", "virtio-scsi-pci,id=scsi0", "-device", "qemu-xhci,id=usb"],
    ["-blockdev", `driver=file,node-name=file1,filename=${dir}/second.img`],
    ["-blockdev", "driver=raw,node-name=disk1,file=file1", "-device", "scsi-hd,id=hd0,drive=disk1,bus=scsi0.0"],
    ["-drive", `if=none,id=cd,media=cdrom,readonly=on,format=raw,file=${dir}/guest.rom`],
    ["-device", "ide-cd,drive=cd,id=cd0", "-device", "virtio-balloon-pci,id=balloon0"],
    ["-vnc", `unix:${dir}/vnc.sock`],
  ].flat();
}

export function newModel(dir: string): Model {
  return {
    disc: join(dir, "guest.rom"),
    trayOpen: false,
    limits: new Map(),
    chains: new Map([
      ["blk0", [join(dir, "disk.qcow2")]],
      ["hd0", [join(dir, "second.img")]],
    ]),
    overlays: new Map(),
    bases: new Map(Object.entries(disks)),
    tops: new Map(Object.entries(disks)),
    devices: new Map(),
    objects: new Map(),
    chardevs: new Map(),
    netdevs: new Map(),
    nodes: new Map(),
    bitmaps: new Map(),
    parameters: new Map(),
    pollingInterval: 0,
    next: 0,
    log: [],
  };
}

interface Act {
  readonly name: string;
  readonly when?: (model: Model) => boolean;
  readonly act: (qmp: Qmp, model: Model, random: Random, dir: string) => Promise<void>;
}

const freshName = (model: Model, prefix: string) => `${prefix}${model.next++}`;
const qomOf = (disk: string) => (disk === "blk0" ? "/machine/peripheral/blk0/virtio-backend" : disk);
const noLimits = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };

async function untilGone(qmp: Qmp, id: string): Promise<void> {
  const since = qmp.lastEventSeq();
  await qmp.execute("device_del", { id });
  await qmp.waitForEvent(({ name, data }) => name === "DEVICE_DELETED" && data["device"] === id, {
    since,
    timeoutMs: 10_000,
  });
}

const acts: readonly Act[] = [
  {
    name: "change the disc",
    act: async (qmp, model, _, dir) => {
      const path = join(dir, `${freshName(model, "disc")}.iso`);
      copyFileSync(join(dir, "guest.rom"), path);
      await qmp.execute("blockdev-change-medium", { id: "cd0", filename: path, format: "raw", force: true });
      model.disc = path;
      model.trayOpen = false;
    },
  },
  {
    name: "eject",
    when: ({ disc }) => disc !== "empty",
    act: async (qmp, model) => {
      await qmp.execute("eject", { id: "cd0", force: true });
      model.disc = "empty";
      model.trayOpen = true;
    },
  },
  {
    name: "limit a disk",
    act: async (qmp, model, random) => {
      const disk = random.pick(Object.keys(disks));
      const bps = 1_000_000 * (1 + random.below(50));
      const iops = random.below(2) * 500;
      await qmp.execute("block_set_io_throttle", { id: qomOf(disk), ...noLimits, bps, iops });
      model.limits.set(disk, { bps, ...(iops === 0 ? {} : { iops }) });
    },
  },
  {
    name: "take the limits away",
    when: ({ limits }) => limits.size > 0,
    act: async (qmp, model, random) => {
      const disk = random.pick([...model.limits.keys()]);
      await qmp.execute("block_set_io_throttle", { id: qomOf(disk), ...noLimits });
      model.limits.delete(disk);
    },
  },
  {
    name: "snapshot",
    when: ({ chains }) => [...chains.values()].some((chain) => chain.length < 3),
    act: async (qmp, model, random, dir) => {
      const disk = random.pick([...model.chains].filter(([, chain]) => chain.length < 3).map(([id]) => id));
      const name = freshName(model, "snap");
      const path = join(dir, `${name}.qcow2`);
      const top = model.tops.get(disk) ?? "";
      await qmp.execute("blockdev-snapshot-sync", {
        "node-name": top,
        "snapshot-file": path,
        "snapshot-node-name": name,
        format: "qcow2",
      });
      model.chains.get(disk)?.unshift(path);
      model.tops.set(disk, name);
      model.overlays.set(disk, [name, ...(model.overlays.get(disk) ?? [])]);
    },
  },
  {
    name: "commit a snapshot",
    when: ({ chains, bitmaps }) => bitmaps.size === 0 && [...chains.values()].some((chain) => chain.length > 1),
    act: async (qmp, model, random) => {
      const disk = random.pick([...model.chains].filter(([, chain]) => chain.length > 1).map(([id]) => id));
      const job = freshName(model, "job");
      const since = qmp.lastEventSeq();
      await qmp.execute("block-commit", { "job-id": job, device: model.tops.get(disk) });
      const is = (event: string) => (one: { name: string; data: Record<string, unknown> }) =>
        one.name === event && one.data["device"] === job;
      await qmp.waitForEvent((event) => is("BLOCK_JOB_READY")(event), { since, timeoutMs: 20_000 });
      await qmp.execute("block-job-complete", { device: job });
      await qmp.waitForEvent((event) => is("BLOCK_JOB_COMPLETED")(event), { since, timeoutMs: 20_000 });
      model.chains.set(disk, (model.chains.get(disk) ?? []).slice(-1));
      model.tops.set(disk, model.bases.get(disk) ?? "");
      await settled(qmp);
      // Nodes that a snapshot made go by themselves; those that an update has put on the command line are the monitor's.
      const there = new Set(
        (await qmp.execute("query-named-block-nodes", { flat: true })).map((one) => one["node-name"]),
      );
      for (const node of model.overlays.get(disk) ?? []) {
        if (there.has(node)) await qmp.execute("blockdev-del", { "node-name": node });
      }
      model.overlays.delete(disk);
    },
  },
  {
    name: "plug in a USB device",
    act: async (qmp, model, random) => {
      const type = random.pick(["usb-kbd", "usb-tablet", "usb-mouse"]);
      if ([...model.devices.values()].filter((one) => one.startsWith("usb-")).length >= 3) return;
      const id = freshName(model, "usb");
      await qmp.execute("device_add", { driver: type, id, bus: "usb.0" });
      model.devices.set(id, type);
    },
  },
  {
    name: "plug in a network card",
    when: ({ devices }) => ![...devices.values()].includes("virtio-net-pci"),
    act: async (qmp, model) => {
      const [netdev, id] = [freshName(model, "back"), freshName(model, "card")];
      await qmp.execute("netdev_add", { type: "user", id: netdev });
      await qmp.execute("device_add", { driver: "virtio-net-pci", id, bus: "rp1", netdev, mac: "52:54:00:ab:cd:ef" });
      model.netdevs.set(netdev, "user");
      model.devices.set(id, "virtio-net-pci");
    },
  },
  {
    name: "plug in a disk",
    when: ({ devices }) => ![...devices.values()].includes("scsi-hd"),
    act: async (qmp, model, _, dir) => {
      const [node, id] = [freshName(model, "node"), freshName(model, "hot")];
      const path = join(dir, `${node}.img`);
      copyFileSync(join(dir, "second.img"), path);
      const file = { driver: "file", filename: path };
      await qmp.execute("blockdev-add", { driver: "raw", "node-name": node, file });
      await qmp.execute("device_add", { driver: "scsi-hd", id, drive: node, bus: "scsi0.0", "scsi-id": 5, serial: id });
      model.devices.set(id, "scsi-hd");
      model.tops.set(id, node);
      model.bases.set(id, node);
      model.chains.set(id, [path]);
    },
  },
  {
    name: "unplug",
    when: ({ devices }) => [...devices.values()].some((type) => type.startsWith("usb-")),
    act: async (qmp, model, random) => {
      const id = random.pick([...model.devices].filter(([, type]) => type.startsWith("usb-")).map(([one]) => one));
      await untilGone(qmp, id);
      model.devices.delete(id);
    },
  },
  {
    name: "add an iothread",
    act: async (qmp, model) => {
      const id = freshName(model, "io");
      await qmp.execute("object-add", { "qom-type": "iothread", id });
      model.objects.set(id, "iothread");
    },
  },
  {
    name: "remove an object",
    when: ({ objects }) => objects.size > 0,
    act: async (qmp, model, random) => {
      const id = random.pick([...model.objects.keys()]);
      await qmp.execute("object-del", { id });
      model.objects.delete(id);
    },
  },
  {
    name: "add a character device",
    act: async (qmp, model, random, dir) => {
      const id = freshName(model, "chr");
      const addr = { type: "unix", data: { path: join(dir, id) } };
      const backend = random.pick([
        { type: "null", data: {} },
        { type: "ringbuf", data: { size: 4096 } },
        { type: "socket", data: { addr, server: true, wait: false } },
      ]);
      await qmp.execute("chardev-add", { id, backend });
      model.chardevs.set(id, backend.type);
    },
  },
  {
    name: "remove a character device",
    when: ({ chardevs }) => chardevs.size > 0,
    act: async (qmp, model, random) => {
      const id = random.pick([...model.chardevs.keys()]);
      await qmp.execute("chardev-remove", { id });
      model.chardevs.delete(id);
    },
  },
  {
    name: "add a network back end",
    when: ({ netdevs }) => netdevs.size < 3,
    act: async (qmp, model) => {
      const id = freshName(model, "back");
      await qmp.execute("netdev_add", { type: "user", id });
      model.netdevs.set(id, "user");
    },
  },
  {
    name: "add a node",
    act: async (qmp, model, _, dir) => {
      const node = freshName(model, "node");
      const path = join(dir, `${node}.img`);
      copyFileSync(join(dir, "second.img"), path);
      await qmp.execute("blockdev-add", { driver: "file", "node-name": node, filename: path, "read-only": true });
      model.nodes.set(node, path);
    },
  },
  {
    name: "remove a node",
    when: ({ nodes }) => nodes.size > 0,
    act: async (qmp, model, random) => {
      const node = random.pick([...model.nodes.keys()]);
      await qmp.execute("blockdev-del", { "node-name": node });
      model.nodes.delete(node);
    },
  },
  {
    name: "add a bitmap",
    when: ({ chains, bitmaps }) => bitmaps.size < 2 && [...chains.values()].every((chain) => chain.length === 1),
    act: async (qmp, model) => {
      const name = freshName(model, "bitmap");
      await qmp.execute("block-dirty-bitmap-add", { node: "disk0", name, granularity: 65536 });
      model.bitmaps.set(`disk0/${name}`, "");
    },
  },
  {
    name: "write to the disk",
    act: async (qmp, model, random) => {
      const at = random.below(64) * 64;
      const line = `qemu-io ${model.tops.get("blk0")} "write -P 0x5a ${at}k 64k"`;
      const said = await qmp.execute("human-monitor-command", { "command-line": line });
      if (/error|fail|invalid/i.test(said)) throw new Error(said);
    },
  },
  {
    name: "set a migration parameter",
    act: async (qmp, model, random) => {
      const name = random.pick(["downtime-limit", "announce-rounds", "max-bandwidth"]);
      const value = name === "max-bandwidth" ? (1 + random.below(50)) << 20 : 2 + random.below(90);
      await qmp.execute("migrate-set-parameters", { [name]: value });
      model.parameters.set(name, value);
    },
  },
  {
    name: "poll the balloon",
    act: async (qmp, model, random) => {
      const value = random.below(20);
      const property = "guest-stats-polling-interval";
      await qmp.execute("qom-set", { path: "/machine/peripheral/balloon0", property, value });
      model.pollingInterval = value;
    },
  },
];

/** After a pivot QEMU lets go of the overlay a little later. */
async function settled(qmp: Qmp): Promise<void> {
  for (let asked = 0; asked < 100 && (await qmp.execute("query-jobs")).length > 0; asked++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Does up to `count` random things and notes them in the model. */
export async function play(qmp: Qmp, model: Model, random: Random, count: number, dir: string): Promise<void> {
  for (let done = 0; done < count; done++) {
    const act = random.pick(acts.filter(({ when }) => when?.(model) ?? true));
    model.log.push(act.name);
    await act.act(qmp, model, random, dir);
  }
  for (const key of model.bitmaps.keys()) model.bitmaps.set(key, await sha256Of(qmp, key));
}

/** Removes all that were added. */
export async function removeBitmaps(qmp: Qmp, model: Model): Promise<void> {
  for (const key of model.bitmaps.keys()) {
    const [node, name] = key.split("/");
    await qmp.execute("block-dirty-bitmap-remove", { node, name });
  }
  model.bitmaps.clear();
}

async function sha256Of(qmp: Qmp, key: string): Promise<string> {
  const [node, name] = key.split("/");
  const answer = (await qmp.execute("x-debug-block-dirty-bitmap-sha256", { node, name })) as { sha256: string };
  return answer.sha256;
}

/** What QEMU says of all that the model knows, in the model's form. */
export async function look(qmp: Qmp, model: Model): Promise<Record<string, unknown>> {
  const drives = await qmp.execute("query-block");
  const drive = (id: string) =>
    drives.find(({ qdev }) => qdev === id || qdev === `/machine/peripheral/${id}/virtio-backend`);
  const cd = drive("cd0");
  const children = async (path: string) =>
    new Map(
      (await qmp.execute("qom-list", { path })).flatMap(({ name, type }) => {
        const child = /^child<(.*)>$/.exec(type)?.[1];
        return child === undefined ? [] : [[name, child] as const];
      }),
    );
  const plugged = await children("/machine/peripheral");
  const made = await children("/objects");
  const chardevs = new Map((await qmp.execute("query-chardev")).map(({ label }) => [label, true]));
  const nodes = await qmp.execute("query-named-block-nodes", { flat: true });
  const network = await qmp.execute("human-monitor-command", { "command-line": "info network" });
  const parameters = await qmp.execute("query-migrate-parameters");
  const property = "guest-stats-polling-interval";
  const own = (id: string) => /^(usb\d|card\d|hot\d|io\d)/.test(id);
  const chainOf = (id: string) => {
    const files: string[] = [];
    type Image = { readonly filename: string; readonly "backing-image"?: Image };
    for (let image = drive(id)?.inserted?.image as Image | undefined; image; image = image["backing-image"]) {
      files.push(image.filename);
    }
    return files;
  };
  return {
    disc: cd?.inserted?.image.filename ?? "empty",
    trayOpen: cd?.tray_open ?? false,
    limits: Object.fromEntries(
      [...model.chains.keys()].flatMap((id) => {
        const { inserted } = drive(id) ?? {};
        const set = ["bps", "iops"].flatMap((name) => {
          const value = (inserted as Record<string, unknown> | undefined)?.[name];
          return typeof value === "number" && value > 0 ? [[name, value]] : [];
        });
        return set.length === 0 ? [] : [[id, Object.fromEntries(set)]];
      }),
    ),
    chains: Object.fromEntries([...model.chains.keys()].map((id) => [id, chainOf(id)])),
    tops: Object.fromEntries([...model.chains.keys()].map((id) => [id, drive(id)?.inserted?.["node-name"]])),
    devices: Object.fromEntries([...plugged].filter(([id]) => own(id)).sort()),
    objects: Object.fromEntries([...made].filter(([id]) => own(id)).sort()),
    chardevs: [...chardevs.keys()].filter((label) => /^chr\d/.test(label)).sort(),
    netdevs: [...new Set([...network.matchAll(/\b(back\d+|net0)\b(?=: index)/g)].map(([, id]) => id ?? ""))].sort(),
    nodes: Object.fromEntries(
      nodes.flatMap((node) => {
        const name = node["node-name"] ?? "";
        return model.nodes.has(name) ? [[name, node.file]] : [];
      }),
    ),
    bitmaps: Object.fromEntries(
      await Promise.all([...model.bitmaps.keys()].map(async (key) => [key, await sha256Of(qmp, key)] as const)),
    ),
    parameters: Object.fromEntries([...model.parameters.keys()].map((name) => [name, parameters[name]])),
    pollingInterval: await qmp.execute("qom-get", { path: "/machine/peripheral/balloon0", property }),
  };
}

/** The model in the form of {@link look}; "net0" is there from the start. */
export function expected(model: Model): Record<string, unknown> {
  const { disc, trayOpen, limits, chains, tops, devices, objects, chardevs, netdevs, nodes, bitmaps, parameters } =
    model;
  return {
    disc,
    trayOpen,
    limits: Object.fromEntries(limits),
    chains: Object.fromEntries(chains),
    tops: Object.fromEntries(tops),
    devices: Object.fromEntries([...devices].sort()),
    objects: Object.fromEntries([...objects].sort()),
    chardevs: [...chardevs.keys()].sort(),
    netdevs: [...new Set(["net0", ...netdevs.keys()])].sort(),
    nodes: Object.fromEntries(nodes),
    bitmaps: Object.fromEntries(bitmaps),
    parameters: Object.fromEntries(parameters),
    pollingInterval: model.pollingInterval,
  };
}
