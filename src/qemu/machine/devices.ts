// The devices and objects that somebody added to the machine, with their options: QEMU says which of an object's
// properties its type takes as options, and with which defaults.

import { addedDevices } from "../qmp/qom.ts";
import type { Asker } from "./ask.ts";
import type { Machine } from "./schema.ts";

type QomObject = Machine["qom"][number];

/** @throws CprkitError as {@link Asker.ask} */
export async function readDevices(asker: Asker, qom: readonly QomObject[]): Promise<Machine["devices"]> {
  const found = addedDevices.flatMap((folder) => childrenOf(qom, folder).map((one) => ({ ...one, folder })));
  const defaults = await defaultsOf(found, (type) => asker.ask("device-list-properties", { typename: type }));
  return found.map(({ folder, name, path, type, properties }) => ({
    ...(folder === "/machine/peripheral" ? { id: name } : {}),
    type,
    path,
    ...(typeof properties["parent_bus"] === "string" ? { bus: properties["parent_bus"] } : {}),
    options: chosen(properties, defaults.get(type)),
  }));
}

/** @throws CprkitError as {@link Asker.ask} */
export async function readObjects(asker: Asker, qom: readonly QomObject[]): Promise<Machine["objects"]> {
  const found = childrenOf(qom, "/objects");
  const defaults = await defaultsOf(found, (type) => asker.ask("qom-list-properties", { typename: type }));
  return found.map(({ name, type, properties }) => ({
    id: name,
    type,
    options: chosen(properties, defaults.get(type)),
  }));
}

function childrenOf(qom: readonly QomObject[], folder: string): (QomObject & { readonly name: string })[] {
  return qom.flatMap((object) => {
    const name = object.path.slice(folder.length + 1);
    return object.path.startsWith(`${folder}/`) && !name.includes("/") ? [{ ...object, name }] : [];
  });
}

type Defaults = ReadonlyMap<string, unknown>;
type Listed = readonly { readonly name: string; readonly "default-value"?: unknown }[] | undefined;

async function defaultsOf(
  objects: readonly QomObject[],
  list: (type: string) => Promise<Listed>,
): Promise<ReadonlyMap<string, Defaults>> {
  const types = [...new Set(objects.map(({ type }) => type))];
  const listed = await Promise.all(
    types.map(async (type) => {
      const options = (await list(type)) ?? [];
      return [type, new Map(options.map((option) => [option.name, option["default-value"]]))] as const;
    }),
  );
  return new Map(listed);
}

function chosen(properties: QomObject["properties"], defaults: Defaults = new Map()): Record<string, unknown> {
  const options = Object.entries(properties).filter(
    ([name, value]) => defaults.has(name) && !isEmpty(value) && value !== defaults.get(name),
  );
  return Object.fromEntries(options);
}

function isEmpty(value: unknown): boolean {
  return value === "" || (Array.isArray(value) && value.length === 0);
}
