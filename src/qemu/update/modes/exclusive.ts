// Devices that only one process can open. A trial of a new command beside the running QEMU has to do without them.

import { objectParts } from "../../command-line/monitors.ts";
import { type CommandOption, getValue, kindIn } from "../../command-line/parse.ts";

/** A device that was left out. */
export interface LeftOut {
  /** For people: its id, else its type. */
  readonly name: string;
  /** How the paths of its object in QOM begin. */
  readonly path: string;
}

/** VFIO groups and devices, /dev/vhost-*, USB interfaces. */
const exclusive = /^(vfio-|vhost-(vsock|scsi|vdpa)|usb-host$)/;

/** The options without the devices that can be opened once. */
export function withoutExclusive(options: readonly CommandOption[]): {
  readonly kept: readonly CommandOption[];
  readonly leftOut: readonly LeftOut[];
} {
  const leftOut: LeftOut[] = [];
  const kept = options.filter(({ name, value = "" }) => {
    if (name !== "device") return true;
    const parts = objectParts(value);
    const type = kindIn(parts, "driver") ?? "";
    if (!exclusive.test(type)) return true;
    const id = getValue(parts, "id");
    const path = id === undefined ? `/machine/peripheral-anon/${type}[` : `/machine/peripheral/${id}`;
    leftOut.push({ name: id ?? type, path });
    return false;
  });
  return { kept, leftOut };
}

/** Whether a difference between two machines, by its path, is about one of them. */
export function isOfLeftOut(path: string, leftOut: readonly LeftOut[]): boolean {
  if (leftOut.length === 0) return false;
  // Their memory has no name.
  return path.startsWith("memory.blocks[unnamed[") || leftOut.some((one) => isBelow(path, one.path));
}

/** "…/hd1" is not where "…/hd10" begins. */
function isBelow(path: string, object: string): boolean {
  const at = path.indexOf(object);
  return at >= 0 && (object.endsWith("[") || !/[\w.-]/.test(path.charAt(at + object.length)));
}
