// The disks and nodes that a command line names: -blockdev, -drive and its short forms (-hda, -cdrom, -pflash …).

import { type CommandOption, getValue, isOn, type KeyValues, parseKeyValues } from "../../command-line/parse.ts";
import { fromKeyValues, isTree, type NodeOptions, text } from "./spec.ts";

/** One -blockdev. */
export interface GivenNode {
  readonly at: number;
  readonly name: string;
  readonly form: "json" | "key=value";
  readonly options: NodeOptions;
}

/** One -drive, or a short form of it. */
export interface GivenDrive {
  readonly at: number;
  /** The name by which QEMU lists it; one without an id gets one by its place (QEMU 10.0 blockdev.c, drive_new). */
  readonly name: string;
  readonly hasId: boolean;
  /** What is said of the drive itself, whatever medium is in it. */
  readonly own: KeyValues;
  /** Options of the node in it; undefined: no medium. */
  readonly options: NodeOptions | undefined;
  readonly readOnly: boolean;
  readonly isSnapshot: boolean;
}

/** The -blockdev options. */
export function givenNodes(options: readonly CommandOption[]): GivenNode[] {
  return options.flatMap(({ name, value = "" }, at) => {
    if (name !== "blockdev") return [];
    const form = value.startsWith("{") ? "json" : "key=value";
    const tree = form === "json" ? parseTree(value) : fromKeyValues(parseKeyValues(value));
    return [{ at, name: text(tree["node-name"]) ?? "", form, options: tree }];
  });
}

/** @param q35 one unit per bus of IDE, as on that board; else two */
export function givenDrives(options: readonly CommandOption[], q35: boolean): GivenDrive[] {
  const taken = new Set<string>();
  return options.flatMap((option, at) => {
    const parts = drivePartsOf(option);
    if (parts === undefined) return [];
    const id = getValue(parts, "id");
    const name = id ?? nameByPlace(parts, q35, taken);
    taken.add(name);
    const own = parts.filter(([key]) => isOwn(key));
    const below = parts.filter(([key]) => !isOwn(key));
    const isCdrom = getValue(parts, "media") === "cdrom";
    return {
      at,
      name,
      hasId: id !== undefined,
      own,
      options: below.length === 0 || getValue(parts, "file") === "" ? undefined : nodeOf(below, own),
      readOnly: isCdrom || isOn(parts, "readonly") || isOn(parts, "read-only"),
      isSnapshot: isOn(parts, "snapshot"),
    };
  });
}

const shortForms: Readonly<Record<string, KeyValues>> = {
  "": [
    ["index", "0"],
    ["media", "disk"],
  ],
  hda: [
    ["index", "0"],
    ["media", "disk"],
  ],
  hdb: [
    ["index", "1"],
    ["media", "disk"],
  ],
  hdc: [
    ["index", "2"],
    ["media", "disk"],
  ],
  hdd: [
    ["index", "3"],
    ["media", "disk"],
  ],
  cdrom: [
    ["index", "2"],
    ["media", "cdrom"],
  ],
  fda: [
    ["if", "floppy"],
    ["index", "0"],
  ],
  fdb: [
    ["if", "floppy"],
    ["index", "1"],
  ],
  sd: [["if", "sd"]],
  mtdblock: [["if", "mtd"]],
  pflash: [["if", "pflash"]],
};

function drivePartsOf({ name, value }: CommandOption): KeyValues | undefined {
  if (value === undefined) return undefined;
  if (name === "drive") return parseKeyValues(value).map(([key, text]) => [key, text ?? "on"]);
  const short = shortForms[name];
  return short === undefined ? undefined : [...short, ["file", value]];
}

const ownKeys = new Set([
  ...["if", "id", "index", "bus", "unit", "media", "addr", "serial", "snapshot", "readonly", "read-only"],
  ...["copy-on-read", "werror", "rerror", "cache", "aio", "group", "stats-account-invalid", "stats-account-failed"],
  ...["cyls", "heads", "secs", "trans"],
]);

function isOwn(key: string): boolean {
  return ownKeys.has(key) || /^(throttling\.|(bps|iops)(_|$)|stats-intervals)/.test(key);
}

/** What of a drive is about its medium, and is refused without one. */
export function isOfMedium(key: string): boolean {
  return key === "cache" || key === "aio";
}

/** The node of a drive: "format" is its driver, "file" a path, and "cache" and "aio" reach all nodes below. */
function nodeOf(below: KeyValues, own: KeyValues): NodeOptions {
  const path = getValue(below, "file");
  const rest = below.filter(([key]) => key !== "file" && key !== "format");
  const driver = getValue(below, "format");
  const json = path?.startsWith("json:") === true ? parseTree(path.slice("json:".length)) : undefined;
  const mode = getValue(own, "cache");
  const cache = {
    ...(mode === "none" || mode === "directsync" ? { direct: "on" } : {}),
    ...(mode === "unsafe" ? { "no-flush": "on" } : {}),
  };
  const tree = fromKeyValues(rest);
  const said = isTree(tree["cache"]) ? tree["cache"] : {};
  return {
    ...(driver === undefined ? {} : { driver }),
    ...json,
    ...(json !== undefined || path === undefined ? {} : { file: { filename: path } }),
    ...tree,
    ...(Object.keys({ ...cache, ...said }).length === 0 ? {} : { cache: { ...cache, ...said } }),
  };
}

function parseTree(json: string): NodeOptions {
  try {
    const value: unknown = JSON.parse(json);
    return isTree(value) ? value : {};
  } catch {
    return {};
  }
}

/** "ide1-cd0", "virtio0", "none2". */
function nameByPlace(parts: KeyValues, q35: boolean, taken: ReadonlySet<string>): string {
  const kind = getValue(parts, "if") ?? "ide";
  const perBus = kind === "scsi" ? 7 : kind === "ide" ? (q35 ? 1 : 2) : 0;
  const medium = kind === "ide" || kind === "scsi" ? (getValue(parts, "media") === "cdrom" ? "-cd" : "-hd") : "";
  const nameOf = (bus: number, unit: number) =>
    perBus > 0 ? `${kind}${bus}${medium}${unit}` : `${kind}${medium}${unit}`;
  const placeOf = (index: number) =>
    perBus > 0 ? ([Math.floor(index / perBus), index % perBus] as const) : ([0, index] as const);
  const index = getValue(parts, "index");
  if (index !== undefined) return nameOf(...placeOf(Number(index)));
  const bus = Number(getValue(parts, "bus") ?? 0);
  const unit = getValue(parts, "unit");
  if (unit !== undefined) return nameOf(bus, Number(unit));
  // The first free place, whatever kind of medium is in the others.
  const isTaken = (name: string) =>
    taken.has(name) || taken.has(name.replace("-cd", "-hd")) || taken.has(name.replace("-hd", "-cd"));
  let at = bus * Math.max(1, perBus);
  while (isTaken(nameOf(...placeOf(at)))) at += 1;
  return nameOf(...placeOf(at));
}
