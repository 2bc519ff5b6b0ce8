// QEMU's tree of objects with the values of their properties. A QEMU with "qom-list-get" (10.1 and newer) gives all
// properties of many objects in one answer; an older one is asked for each property that is not known to be what it was.

import type { WaitOptions } from "../../../linux/index.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import type { Qmp } from "../../qmp/client.ts";
import { type Asker, isRefusal } from "../ask.ts";
import type { Machine } from "../schema.ts";
import { holdsSecret, isSecretProperty } from "../secrets.ts";
import { switchesOf } from "./cpu-switches.ts";
import { isBoards, parseQtree, type Said, sameAsBefore } from "./qtree.ts";

type QomObject = Machine["qom"][number];

interface Property {
  readonly name: string;
  readonly type: string;
  readonly value?: unknown;
}

interface Place {
  readonly path: string;
  readonly type: string;
}

/**
 * The switches of the first CPU of each type, some 500 properties, half of which an older QEMU has to be asked one by one,
 * for a tenth of a second: read them, leave them out, or take them from what the same process said before. They are fixed
 * when the CPU is made.
 */
type CpuSwitches = "read" | "leave out" | { readonly known: readonly QomObject[] };

/** What of the tree is read. */
export interface TreeOptions {
  /** Default: "read". */
  readonly switches?: CpuSwitches | undefined;
  /**
   * Of what nobody added, the board and its devices, only where a back end is in it: half of the properties, and for a plan, which
   * deals with what was added, not needed.
   */
  readonly addedOnly?: boolean;
  /** Where objects may be, of another reading: a newer QEMU is asked for all of them before it has said which are there. */
  readonly paths?: readonly string[] | undefined;
}

/** The tree, and what an older QEMU said of its devices just before it was read. */
export interface QomTree {
  readonly objects: readonly QomObject[];
  readonly said?: Said | undefined;
}

/**
 * All objects below "/", parents first, with those properties that can be read and say something of the machine. What
 * is added or removed meanwhile may be missing.
 *
 * @param before of the same process, or of another one of the same program: an older QEMU is not asked again for what it
 * says to be the same (qtree.ts)
 * @throws CprkitError as {@link Qmp.execute}, and ERR_QMP for a tree without an end
 */
export async function readQom(
  qmp: Qmp,
  { ask, askHuman }: Asker,
  wait: WaitOptions,
  options: TreeOptions,
  before?: QomTree,
): Promise<QomTree> {
  const objects: QomObject[] = [];
  const root = await ask("qom-list-get", { paths: ["/"] });
  const said = root === undefined ? parseQtree(await askHuman("info qtree")) : undefined;
  const known = root && new Map([["/", Promise.resolve(root[0]?.properties)], ...askAhead(qmp, options.paths, wait)]);
  const read = (places: readonly Filtered[]) =>
    known === undefined ? readEach(qmp, places, wait) : readMany(qmp, places, known, wait);
  const same = before?.said && said ? sameAsBefore(before.objects, before.said, said) : () => ({});
  const filter = makeFilter(options, same);
  let level: Place[] = [{ path: "/", type: "container" }];
  for (let depth = 0; level.length > 0; depth++) {
    const next: Place[] = [];
    for (const { place, properties, children } of await read(level.map(filter))) {
      objects.push({ ...place, properties });
      next.push(...children);
    }
    if (depth >= maxDepth || objects.length + next.length > maxObjects) {
      const limits = `${maxObjects} objects or ${maxDepth} levels`;
      throw new CprkitError("ERR_QMP", `QEMU's tree of objects has more than ${limits}: it was not read`);
    }
    // QEMU lists them as its hash table has them: which CPU is the first must not depend on that.
    level = next.toSorted((a, b) => numberOf(a) - numberOf(b));
  }
  return { objects, said };
}

/** The N of "device[N]". */
function numberOf({ path }: Place): number {
  return Number(/\[(\d+)\]$/.exec(path)?.[1] ?? -1);
}

/** Far more than any machine has: a q35 with no devices has 58 objects, on five levels. */
const maxObjects = 100_000;
const maxDepth = 64;

/** What says nothing of the machine that its devices and their properties do not say. */
const leftOut: readonly { readonly why: string; readonly match: (property: Property) => boolean }[] = [
  { why: "wires between devices follow from the devices", match: ({ type }) => /^(child|link)<irq>$/.test(type) },
  {
    why: "memory regions follow from the devices, and the guest moves them",
    match: ({ type }) => /^(child|link)<.*memory-region>$/.test(type),
  },
  {
    why: "the same value again, as text; a switch of that name (legacy-cache) is one of its own",
    match: ({ name, type }) => (name.startsWith("legacy-") && type !== "bool") || type.startsWith("legacy<"),
  },
  { why: "kept once for each object", match: ({ name }) => name === "type" },
  {
    why: "a bus lists its devices, each of which names its bus",
    match: ({ name, type }) => /^child\[\d+\]$/.test(name) && type.startsWith("link<"),
  },
];

interface Filtered extends Place {
  /** Whether to read a property's value. */
  readonly wants: (property: Property) => boolean;
  /** What is known of it without asking. */
  readonly known: Readonly<Record<string, unknown>>;
}

/**
 * The first CPU of a type is read whole; of the others its place and its sets of features (the properties that are not
 * switches): each has 300 switches, which the sets repeat.
 */
function makeFilter(
  { switches = "read", addedOnly = false }: TreeOptions,
  same: (place: Place) => Readonly<Record<string, unknown>>,
): (place: Place) => Filtered {
  const seenCpus = new Set<string>();
  const before = typeof switches === "object" ? switches.known : [];
  return ({ path, type }) => {
    const isFirst = isCpu(type) && !seenCpus.has(type);
    if (isFirst) seenCpus.add(type);
    const is = isFirst ? before.find((object) => object.path === path && object.type === type) : undefined;
    const told = same({ path, type });
    const isAsked = !isCpu(type) || (isFirst && is === undefined && switches !== "leave out");
    return {
      path,
      type,
      known: {
        ...Object.fromEntries(Object.entries(is?.properties ?? {}).filter(([, value]) => typeof value === "boolean")),
        ...told,
      },
      wants: (property) =>
        (!addedOnly || !isBoards(path) || backEnds.has(property.name)) &&
        !Object.hasOwn(told, property.name) &&
        !property.type.startsWith("child<") &&
        !isSecretProperty(type, property.name) &&
        (isAsked || property.type !== "bool" || property.name === "hotplugged"),
    };
  };
}

/** Properties that name a back end: of a serial port, a disk, a network card, a loudspeaker of the board. */
const backEnds = new Set(["chardev", "drive", "netdev", "audiodev"]);

function isCpu(type: string): boolean {
  return /-cpu$/.test(type);
}

interface ReadObject {
  readonly place: Place;
  readonly properties: Record<string, unknown>;
  readonly children: readonly Place[];
}

/** Paths in one command: while QEMU makes the next answer, this one is read. */
const pathsAtOnce = 16;

type Answers = ReadonlyMap<string, Promise<readonly Property[] | undefined>>;

/** Each path's answer, undefined if it was refused, which one path that is gone does to all of its command. Never rejects. */
function askAhead(qmp: Qmp, paths: readonly string[] = [], wait: WaitOptions): Answers {
  // One of them may be another object by now, whose answer would hold a secret.
  const asked = paths.filter((path) => path !== "/" && !path.startsWith("/objects/"));
  return new Map(
    chunksOf(asked, pathsAtOnce).flatMap((some) => {
      const answers = qmp.execute("qom-list-get", { paths: some }, wait).catch(() => []);
      return some.map((path, index) => [path, answers.then((all) => all[index]?.properties)] as const);
    }),
  );
}

async function readMany(
  qmp: Qmp,
  places: readonly Filtered[],
  known: Answers,
  wait: WaitOptions,
): Promise<ReadObject[]> {
  const answers = await Promise.all(places.map(({ path }) => known.get(path)));
  const others = places.filter((_, index) => answers[index] === undefined);
  const asked = await Promise.all(
    // The answer would hold the secret.
    chunksOf(others, pathsAtOnce).map((some) =>
      some.some(({ type }) => holdsSecret(type)) ? readEach(qmp, some, wait) : readSome(qmp, some, wait),
    ),
  );
  const found = new Map(asked.flat().map((object) => [object.place.path, object]));
  return places.flatMap((place, index) => {
    const properties = answers[index];
    return (properties === undefined ? found.get(place.path) : readAnswer(place, properties)) ?? [];
  });
}

async function readSome(qmp: Qmp, places: readonly Filtered[], wait: WaitOptions): Promise<ReadObject[]> {
  const paths = places.map(({ path }) => path);
  const answers = await unlessRefused(() => qmp.execute("qom-list-get", { paths }, wait));
  // One that is gone fails them all.
  if (answers === undefined) return readEach(qmp, places, wait);
  return places.map((place, index) => readAnswer(place, answers[index]?.properties ?? []));
}

function readAnswer(place: Filtered, properties: readonly Property[]): ReadObject {
  const all = properties.filter(isTold);
  const values = all.filter((property) => place.wants(property) && property.value !== undefined);
  return readObject(place, all, values);
}

function chunksOf<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, at) => list.slice(at * size, (at + 1) * size));
}

/** Objects that are asked at the same time: hides the time between answer and next question. */
const objectsAtOnce = 8;

async function readEach(qmp: Qmp, places: readonly Filtered[], wait: WaitOptions): Promise<ReadObject[]> {
  const found: ReadObject[] = [];
  for (let at = 0; at < places.length; at += objectsAtOnce) {
    const some = places.slice(at, at + objectsAtOnce);
    found.push(...(await Promise.all(some.map((place) => readOne(qmp, place, wait)))).flat());
  }
  return found;
}

async function readOne(qmp: Qmp, place: Filtered, wait: WaitOptions): Promise<ReadObject[]> {
  const { path } = place;
  const all = await unlessRefused(async () => (await qmp.execute("qom-list", { path }, wait)).filter(isTold));
  if (all === undefined) return [];
  const get = async ({ name, type }: Property): Promise<Property[]> => {
    const value = await unlessRefused(() => qmp.execute("qom-get", { path, property: name }, wait));
    return value === undefined ? [] : [{ name, type, value }];
  };
  const wanted = all.filter(place.wants);
  const sets = wanted.find(({ name }) => name === "feature-words");
  const words = sets === undefined ? [] : await get(sets);
  const told = switchesOf(words[0]?.value);
  const values = await Promise.all(
    wanted.map((property) => {
      if (property === sets) return words;
      const value = property.type === "bool" ? told[property.name] : undefined;
      return value === undefined ? get(property) : [{ ...property, value }];
    }),
  );
  return [readObject(place, all, values.flat())];
}

function readObject(
  { path, type, known }: Filtered,
  all: readonly Property[],
  values: readonly Property[],
): ReadObject {
  const base = path === "/" ? "" : path;
  const listed = new Set(all.map(({ name }) => name));
  const still = Object.entries(known).filter(([name]) => listed.has(name));
  return {
    place: { path, type },
    properties: { ...Object.fromEntries(still), ...Object.fromEntries(values.map(({ name, value }) => [name, value])) },
    children: all.flatMap((property) => {
      const childType = /^child<(.*)>$/.exec(property.type)?.[1];
      return childType === undefined ? [] : [{ path: `${base}/${property.name}`, type: childType }];
    }),
  };
}

function isTold(property: Property): boolean {
  return !leftOut.some(({ match }) => match(property));
}

async function unlessRefused<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}
