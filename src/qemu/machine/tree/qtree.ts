// What "info qtree" says of the devices on buses: all options of each, in one answer. Never a value of the machine: its form is for
// people. But where two of them say the same of a device's option, the option is the same, and need not be asked for.

import { isDeepStrictEqual } from "node:util";
import { addedDevices } from "../../qmp/qom.ts";
import type { Machine } from "../schema.ts";

type QomObject = Machine["qom"][number];

/** Of each kind of device, by "TYPE ID" (the id is "" for all that have none): how many, and their options' texts. */
export type Said = ReadonlyMap<string, { readonly count: number; readonly options: ReadonlyMap<string, string[]> }>;

/** Reads the text; what is not understood is left out. QEMU 10.0 system/qdev-monitor.c: buses, devices, "NAME = VALUE". */
export function parseQtree(text: string): Said {
  const said = new Map<string, { count: number; options: Map<string, string[]> }>();
  const lines = text.split(/\r?\n/);
  const buses = lines.flatMap((line) => /^ *bus: (.*)$/.exec(line)?.[1] ?? []);
  const inside: { readonly indent: number; readonly bus: string }[] = [];
  let options: Map<string, string[]> | undefined;
  const add = (name: string, value: string) => options?.set(name, [...(options.get(name) ?? []), value]);
  for (const line of lines) {
    const indent = line.search(/\S/);
    while (indent >= 0 && indent <= (inside.at(-1)?.indent ?? -1)) inside.pop();
    const bus = /^ *bus: (.*)$/.exec(line)?.[1];
    if (bus !== undefined) {
      inside.push({ indent, bus });
      options = undefined;
    }
    const [, type, id] = /^ *dev: (.*), id "(.*)"$/.exec(line) ?? [];
    if (type !== undefined) {
      const kind = said.get(`${type} ${id}`) ?? { count: 0, options: new Map<string, string[]>() };
      kind.count += 1;
      said.set(`${type} ${id}`, kind);
      options = kind.options;
      const on = inside.at(-1)?.bus;
      // Of two buses with one name it does not say which.
      if (on !== undefined && buses.indexOf(on) === buses.lastIndexOf(on)) add("parent_bus", on);
    }
    const [, name, value = ""] = /^ *([^ =]+) = (.*)$/.exec(line) ?? [];
    // A text over several lines is not told whole.
    if (name !== undefined && !/^"(?:.*[^"])?$/.test(value)) add(name, value);
  }
  return said;
}

/**
 * What need not be asked again.
 *
 * @param before the objects as they were read, of this process or of another one of the same program
 * @param then what was said just before that
 * @param now what is said now
 * @returns the properties of an object that have the value that they had
 */
export function sameAsBefore(
  before: readonly QomObject[],
  then: Said,
  now: Said,
): (place: { readonly path: string; readonly type: string }) => Record<string, unknown> {
  const byPath = new Map(before.map((object) => [object.path, object]));
  const counts = new Map<string, number>();
  for (const { path, type } of before) {
    const kind = kindOf(path, type);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const same = ({ path, type }: { readonly path: string; readonly type: string }): Record<string, unknown> => {
    const object = byPath.get(path);
    const kind = kindOf(path, type);
    const [old, next] = [then.get(kind), now.get(kind)];
    // One that is on no bus is not said anything of: then they are not all of this kind.
    if (object?.type !== type || old?.count !== counts.get(kind) || next?.count !== old?.count) return {};
    const backend = byPath.get(`${path}/virtio-backend`);
    const ofBackend = backend === undefined ? {} : same(backend);
    const isSame = ([name, value]: readonly [string, unknown]) => {
      if (isFixed(path, name, value)) return true;
      const texts = [old, next].map((each) => each?.options.get(name) ?? []);
      // All options of a virtio device are those of its card, too (QEMU 10.0 hw/virtio/virtio.c, virtio_instance_init_common).
      if (texts.flat().length === 0) return isDeepStrictEqual(ofBackend[name], value);
      const [first] = texts.flat();
      // Of several it is not said which is which: all must have the same.
      return texts.every((each) => each.length === old?.count && each.every((one) => one === first));
    };
    return Object.fromEntries(Object.entries(object.properties).filter(isSame));
  };
  return same;
}

/**
 * Of a device on a bus: it works, which QEMU makes sure of when the machine is built, and one that is taken out leaves its
 * bus at once (QEMU 10.0 hw/core/qdev.c, qdev_assert_realized_properly); whether it could be taken out follows from its
 * type and from its bus's hotplug-handler, which is read; and what nobody added was there from the start.
 */
function isFixed(path: string, name: string, value: unknown): boolean {
  return (
    (name === "realized" && value === true) ||
    name === "hotpluggable" ||
    (name === "hotplugged" && value === false && isBoards(path))
  );
}

/** What nobody added: the machine itself and the devices of its board. */
export function isBoards(path: string): boolean {
  return /^\/machine(\/|$)/.test(path) && !addedDevices.some((folder) => path.startsWith(`${folder}/`));
}

function kindOf(path: string, type: string): string {
  return `${type} ${/^\/machine\/peripheral\/([^/]+)$/.exec(path)?.[1] ?? ""}`;
}
