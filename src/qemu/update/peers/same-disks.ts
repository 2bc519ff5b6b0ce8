// Compares what is in the disks and drives of the running QEMU with what the new one has opened by its command line,
// before anything is stopped: after a change of medium, a block-commit or a mirror they are other files.

import type { WaitOptions } from "../../../linux/index.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import type { Qmp } from "../../qmp/client.ts";
import type { QmpReturn } from "../../qmp/schema.ts";

type Drive = QmpReturn<"query-block">[number];

/**
 * Each device must have the same chain of images, the same right to write and the same tray. I/O limits that were set
 * since the start are set on the new QEMU.
 *
 * @throws CprkitError ERR_UPDATE_REFUSED naming the first device that differs; as `Qmp.execute`
 */
export async function expectSameDisks(source: Qmp, destination: Qmp, options: WaitOptions): Promise<void> {
  const ask = async (qmp: Qmp) =>
    new Map((await qmp.execute("query-block", undefined, options)).map((drive) => [nameOf(drive), drive]));
  const [here, there] = await Promise.all([ask(source), ask(destination)]);
  for (const name of new Set([...here.keys(), ...there.keys()])) {
    const [old, next] = [here.get(name), there.get(name)];
    const [a, b] = [contentOf(old), contentOf(next)];
    if (a !== b) {
      throw new CprkitError(
        "ERR_UPDATE_REFUSED",
        `the guest would get another disk: ${name} of the running QEMU has ${a}, of the new one ${b}; give the whole new ` +
          "command line after --, or bring the running QEMU back to what its command line says",
      );
    }
    if (old !== undefined && next !== undefined) await setLimits(destination, old, next, options);
  }
}

/** Named by its -drive, or by the device that it is in. */
function nameOf({ device, qdev }: Drive): string {
  return device !== "" ? device : (qdev ?? "");
}

function contentOf(drive: Drive | undefined): string {
  if (drive === undefined) return "no such drive";
  const tray = drive.tray_open === true ? ", its tray open" : "";
  if (drive.inserted === undefined) return `nothing in it${tray}`;
  const chain: string[] = [];
  for (let image: Image | undefined = drive.inserted.image; image !== undefined; image = image["backing-image"]) {
    chain.push(canonical(image.filename));
  }
  return `${chain.join(" on ")}${drive.inserted.ro ? " (read-only)" : ""}${tray}`;
}

interface Image {
  readonly filename: string;
  readonly "backing-image"?: Image | undefined;
}

/** QEMU describes what has no plain name as "json:{…}": the order of the members says nothing. */
function canonical(filename: string): string {
  if (!filename.startsWith("json:")) return filename;
  try {
    return `json:${JSON.stringify(sorted(JSON.parse(filename.slice("json:".length))))}`;
  } catch {
    return filename;
  }
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  );
}

const limits = /^(bps|iops)(_rd|_wr)?(_max|_max_length)?$|^iops_size$/;

/** @throws CprkitError as `Qmp.execute` */
async function setLimits(destination: Qmp, old: Drive, next: Drive, options: WaitOptions): Promise<void> {
  const of = (drive: Drive) =>
    Object.entries(drive.inserted ?? {}).filter(([name, value]) => limits.test(name) && typeof value === "number");
  const text = (drive: Drive) => JSON.stringify([...of(drive).toSorted(), drive.inserted?.["group"]]);
  if (text(old) === text(next)) return;
  const group = old.inserted?.["group"] === undefined ? {} : { group: old.inserted["group"] };
  const which = next.device === "" ? { id: next.qdev } : { device: next.device };
  const set = { ...which, ...Object.fromEntries(of(old)), ...group };
  await destination.execute("block_set_io_throttle", set, options);
}
