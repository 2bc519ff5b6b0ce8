// The devices and objects that somebody added to the machine, with their options: QEMU says which of an object's
// properties its type takes as options, and with which defaults.

import { addedDevices } from "../qmp/qom.ts";
import type { Asker } from "./ask.ts";
import type { Machine } from "./schema.ts";

type QomObject = Machine["qom"][number];

/** @throws CprkitError as {@link Asker.ask} */
export async function readDevices(asker: Asker, qom: readonly QomObject[]): Promise<Machine["devices"]> {
  const found = addedDevices.flatMap((folder) => childrenOf(qom, folder).map((one) => ({ ...one, folder })));
  const [defaults, fixed, ports] = await Promise.all([
    defaultsOf(found, (type) => asker.askOnce("device-list-properties", { typename: type })),
    found.length === 0 ? noneFixed : fixedByMachineType(asker, qom),
    found.some(({ type }) => type.startsWith("usb-")) ? usbPorts(asker, found, qom) : noPorts,
  ]);
  return Promise.all(
    found.map(async ({ folder, name, path, type, properties }) => {
      const backend = qom.find((object) => object.path === `${path}/virtio-backend`)?.type;
      const isFixed = ([property, value]: readonly [string, unknown]) =>
        [type, backend].some((each) => each !== undefined && isSame(fixed(each, property), value));
      const options = Object.entries(chosen(properties, defaults.get(type))).filter((option) => !isFixed(option));
      const port = ports.get(path);
      return {
        ...(folder === "/machine/peripheral" ? { id: name } : {}),
        type,
        path,
        ...(properties["parent_bus"] ? { bus: String(properties["parent_bus"]) } : {}),
        options: { ...(await exact(asker, path, options)), ...(port === undefined ? {} : { port }) },
      };
    }),
  );
}

/** @throws CprkitError as {@link Asker.ask} */
export async function readObjects(asker: Asker, qom: readonly QomObject[]): Promise<Machine["objects"]> {
  const found = childrenOf(qom, "/objects");
  const defaults = await defaultsOf(found, (type) => asker.askOnce("qom-list-properties", { typename: type }));
  return found.map(({ name, type, properties }) => ({
    id: name,
    type,
    options: chosen(properties, defaults.get(type)),
  }));
}

/** What the machine's type sets for a type of device and all that derive from it. */
type Fixed = (type: string, property: string) => string | undefined;

const noneFixed: Fixed = () => undefined;

/** Defaults of older machine types (QEMU 9.1 and newer say them, qapi/machine.json). */
async function fixedByMachineType({ askOnce, tryAsk }: Asker, qom: readonly QomObject[]): Promise<Fixed> {
  const machineType = qom.find(({ path }) => path === "/machine")?.type.replace(/-machine$/, "");
  const [machines = [], types = []] = await Promise.all([
    tryAsk("query-machines", { "compat-props": true }),
    askOnce("qom-list-types", { implements: "device", abstract: true }),
  ]);
  const parents = new Map(types.map(({ name, parent }) => [name, parent]));
  const { "compat-props": set = [] } = (machines.find(({ name }) => name === machineType) ?? {}) as {
    readonly "compat-props"?: readonly CompatProperty[];
  };
  const values = new Map(set.map((each) => [`${each["qom-type"]} ${each.property}`, each.value]));
  return (type, property) => {
    for (let at: string | undefined = type; at !== undefined; at = parents.get(at)) {
      const value = values.get(`${at} ${property}`);
      if (value !== undefined) return value;
    }
    return undefined;
  };
}

interface CompatProperty {
  readonly "qom-type": string;
  readonly property: string;
  readonly value: string;
}

/** Whether a property's value is what a text of the machine's type stands for. */
function isSame(text: string | undefined, value: unknown): boolean {
  if (text === undefined) return false;
  if (typeof value === "boolean") return ["on", "yes", "true", "y"].includes(text) === value;
  return typeof value === "number" ? Number(text) === value : text === value;
}

/** Numbers above 2^53 as text, with all their digits: the human monitor gives them. */
async function exact(
  { askHuman }: Asker,
  path: string,
  options: readonly (readonly [string, unknown])[],
): Promise<Record<string, unknown>> {
  const values = options.map(async ([name, value]) => {
    if (typeof value !== "number" || Number.isSafeInteger(value) || !Number.isInteger(value)) return [name, value];
    const digits = /^\d+/.exec(await askHuman(`qom-get ${path} ${name}`))?.[0];
    return [name, digits ?? value];
  });
  return Object.fromEntries(await Promise.all(values));
}

const noPorts: ReadonlyMap<string, string> = new Map();

/**
 * The ports of USB devices by path, also where QEMU has chosen them. "info usb" lists the devices of each bus in the
 * order of their creation and names the id, where there is one. Left out: where it is not sure which is which, and
 * what is behind a hub that QEMU has put in by itself.
 */
async function usbPorts(
  { askHuman }: Asker,
  devices: readonly (QomObject & { readonly name: string })[],
  qom: readonly QomObject[],
): Promise<ReadonlyMap<string, string>> {
  const usb = devices.filter(({ properties }) => "attached" in properties);
  const withoutId = usb
    .filter(({ path }) => path.startsWith("/machine/peripheral-anon/"))
    .toSorted((a, b) => numberOf(a) - numberOf(b));
  const hasOwnHub = qom.some(({ path, type }) => type === "usb-hub" && path.startsWith("/machine/unattached/"));
  const listed = [
    ...(await askHuman("info usb")).matchAll(/ Port ([\d.]+), .*?Product (.*?)(?:, ID: (\S+))?\r?$/gm),
  ].map(([, port = "", product, id]) => ({
    port,
    id,
    isOwnHub: hasOwnHub && id === undefined && /\bHub$/.test(product ?? ""),
  }));
  const ownHubs = listed.flatMap(({ port, isOwnHub }) => (isOwnHub ? [`${port}.`] : []));
  const sure = listed.filter(({ port, isOwnHub }) => !isOwnHub && !ownHubs.some((hub) => port.startsWith(hub)));
  const nameless = listed.filter(({ id, isOwnHub }) => id === undefined && !isOwnHub);
  const owner = (each: (typeof listed)[number]) =>
    each.id === undefined
      ? nameless.length === withoutId.length
        ? withoutId[nameless.indexOf(each)]
        : undefined
      : usb.find(({ path }) => path === `/machine/peripheral/${each.id}`);
  return new Map(
    sure.flatMap((each) => {
      const path = owner(each)?.path;
      return path === undefined ? [] : [[path, each.port] as const];
    }),
  );
}

function numberOf({ path }: QomObject): number {
  return Number(/\[(\d+)\]$/.exec(path)?.[1]);
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
