// Which fds of a QEMU hold guest RAM, and under which name CPR carries each: QEMU's list of RAM blocks says where a
// block is mapped, the process's map says which file is there.

import { readProcessFile } from "../../linux/process/proc.ts";
import { statFile } from "../../linux/process/stat-file.ts";
import { objectParts } from "../command-line/monitors.ts";
import { type CommandOption, getValue } from "../command-line/parse.ts";
import type { Qmp } from "../qmp/client.ts";
import { qomChildren } from "../qmp/qom.ts";
import type { Fate } from "./fate.ts";

/** A line of the human monitor's "info ramblock". */
interface MonitorRamBlock {
  /** "" for a memory backend that nothing uses. */
  readonly name: string;
  /** Where the block lies in QEMU's list of guest RAM. */
  readonly offset: bigint;
  /** Bytes that are mapped. */
  readonly size: number;
  /** Its address in QEMU. */
  readonly address: bigint;
}

/** Reads what QEMU 10.0 to 11.1 print (system/ramblock code behind "info ramblock"). */
function parseRamBlocks(text: string): MonitorRamBlock[] {
  const line = /^\s*(.*?)\s*\d+ [KMGT]?i?B +0x([0-9a-f]+) +0x[0-9a-f]+ +0x([0-9a-f]+) +0x([0-9a-f]+) *(?:r[ow])?$/;
  return text.split(/\r?\n/).flatMap((each) => {
    const [, name, offset, size, address] = line.exec(each) ?? [];
    if (name === undefined || offset === undefined || size === undefined || address === undefined) return [];
    return [
      { name, offset: BigInt(`0x${offset}`), size: Number(BigInt(`0x${size}`)), address: BigInt(`0x${address}`) },
    ];
  });
}

/** A memory backend object. */
export interface MemoryBackend {
  readonly id: string;
  /** Such as "memory-backend-memfd". */
  readonly type: string;
  readonly size: number;
  readonly share: boolean | undefined;
}

/** The VM's memory backends, those that QEMU makes by itself for `-m` among them. */
export async function memoryBackends(qmp: Qmp): Promise<MemoryBackend[]> {
  const [list, objects] = await Promise.all([qmp.execute("query-memdev"), qomChildren(qmp, "/objects")]);
  const types = new Map(objects.map(({ name, type }) => [name, type]));
  return list.flatMap(({ id, size, share }) =>
    id === undefined ? [] : [{ id, type: types.get(id) ?? "memory-backend", size, share }],
  );
}

/** A RAM block of the running QEMU, with the fd of the file that its mapping shows. */
export interface MappedRam {
  readonly block: MonitorRamBlock;
  /** undefined: anonymous memory, or a file that QEMU has closed. */
  readonly fd: number | undefined;
}

/** The RAM blocks of QEMU, in the order of its list. `links`: its fds with the links of /proc/PID/fd. */
export async function mappedRam(pid: number, qmp: Qmp, links: ReadonlyMap<number, string>): Promise<MappedRam[]> {
  const text = await qmp.execute("human-monitor-command", { "command-line": "info ramblock" });
  const fdOf = fdsByFile(pid, links);
  const maps = readMaps(pid);
  return parseRamBlocks(text).map((block) => {
    const file = maps.find(({ start, end }) => start <= block.address && block.address < end)?.file;
    return { block, fd: file === undefined ? undefined : fdOf.get(file) };
  });
}

/** The fds that hold guest RAM, with their fates. */
export async function carriedRam(
  pid: number,
  links: ReadonlyMap<number, string>,
  options: readonly CommandOption[],
  qmp: Qmp | undefined,
): Promise<Map<number, Fate>> {
  const fates = new Map<number, Fate>();
  if (qmp === undefined) {
    for (const [fd, link] of links) if (isMemoryFile(link)) fates.set(fd, unasked(link));
    return dropUnlikely(fates, links);
  }
  const [mapped, backends] = await Promise.all([mappedRam(pid, qmp, links), memoryBackends(qmp)]);
  const nameless: { readonly fd: number; readonly block: MonitorRamBlock }[] = [];
  const named = new Set<string>();
  for (const { block, fd } of mapped) {
    if (fd === undefined) continue;
    const type = backends.find(({ id }) => id === backendId(block.name))?.type;
    if (block.name !== "") named.add(backendId(block.name));
    if (type === "memory-backend-file" || !isMemoryFile(links.get(fd) ?? "")) {
      fates.set(
        fd,
        (links.get(fd) ?? "").endsWith(" (deleted)")
          ? { fate: "reopened", why: "guest RAM in a file without a name: cprkit names it by /proc/PID/fd" }
          : { fate: "reopened", why: "guest RAM in a file, by its path" },
      );
    } else if (block.name === "") {
      const own = backends.find(({ id }) => links.get(fd) === `/memfd:${id} (deleted)`);
      if (own === undefined) nameless.push({ fd, block });
      else {
        named.add(own.id);
        fates.set(fd, carried(own.id, "memory backend not in use"));
      }
    } else fates.set(fd, carried(block.name, "guest RAM"));
  }
  const left = backends.filter(({ id, type }) => !named.has(id) && type !== "memory-backend-file");
  for (const [fd, fate] of matchBySize(nameless, inOrderOfCreation(left, options))) fates.set(fd, fate);
  return fates;
}

/**
 * The fds of guest RAM in files, by the id of the memory-backend-file. Without such a backend nothing is asked.
 *
 * @throws CprkitError as `Qmp.execute`
 */
export async function memoryFileFds(
  pid: number,
  qmp: Qmp,
  links: ReadonlyMap<number, string>,
  backends: readonly MemoryBackend[],
): Promise<Map<string, number>> {
  const files = new Set(backends.flatMap(({ id, type }) => (type === "memory-backend-file" ? id : [])));
  const mapped = files.size === 0 ? [] : await mappedRam(pid, qmp, links);
  return new Map(
    mapped.flatMap(({ block, fd }) => {
      const id = backendId(block.name);
      return fd === undefined || !files.has(id) ? [] : [[id, fd] as const];
    }),
  );
}

function carried(name: string, why: string): Fate {
  return { fate: "carried", name, id: 0, why };
}

/** "ram0" for "/objects/ram0", the name that old machine types give a backend's block. */
function backendId(block: string): string {
  return block.replace(/^\/objects\//, "");
}

/** A backend that nothing uses has no block name, and its memory file is called like its type: only its size identifies it. */
function matchBySize(
  nameless: readonly { readonly fd: number; readonly block: MonitorRamBlock }[],
  backends: readonly MemoryBackend[],
): Map<number, Fate> {
  const fates = new Map<number, Fate>();
  const byOffset = nameless.toSorted((a, b) => (a.block.offset < b.block.offset ? -1 : 1));
  for (const size of new Set(byOffset.map(({ block }) => block.size))) {
    const blocks = byOffset.filter(({ block }) => block.size === size);
    // A backend's size is rounded up to whole pages.
    const same = backends.filter((backend) => Math.ceil(backend.size / 4096) * 4096 === size);
    for (const [index, { fd }] of blocks.entries()) {
      const name = same.length === blocks.length ? same[index]?.id : undefined;
      if (name === undefined) fates.set(fd, { fate: "carried", id: 0, why: "memory backend not in use, name unknown" });
      else if (same.length === 1) fates.set(fd, carried(name, "memory backend not in use"));
      else fates.set(fd, carried(name, `memory backend not in use; which of ${same.length} alike: by their order`));
    }
  }
  return fates;
}

function inOrderOfCreation(backends: readonly MemoryBackend[], options: readonly CommandOption[]): MemoryBackend[] {
  const ids = options.flatMap(({ name, value }) =>
    name === "object" && value !== undefined ? [getValue(objectParts(value), "id") ?? ""] : [],
  );
  const place = (id: string) => (ids.includes(id) ? ids.indexOf(id) : ids.length);
  const order = new Map(backends.map(({ id }) => [id, place(id)]));
  return backends.toSorted((a, b) => (order.get(a.id) ?? 0) - (order.get(b.id) ?? 0));
}

/** A memfd, or a POSIX shared memory object whose name has been removed. */
export function isMemoryFile(link: string): boolean {
  return link.startsWith("/memfd:") || /^\/dev\/shm\/.* \(deleted\)$/.test(link);
}

function unasked(link: string): Fate {
  const name = /^\/memfd:(.*) \(deleted\)$/.exec(link)?.[1];
  return name === undefined || name === "memory-backend-memfd"
    ? { fate: "carried", id: 0, why: "memory backend; only the monitor knows its name" }
    : carried(name, "guest RAM, by its memory file's name");
}

/** The picture of a display is in a memory file, too, and not carried (QEMU 10.0 ui/console.c). */
function dropUnlikely(fates: Map<number, Fate>, links: ReadonlyMap<number, string>): Map<number, Fate> {
  for (const fd of [...fates.keys()]) if (links.get(fd)?.startsWith("/memfd:displaysurface") === true) fates.delete(fd);
  return fates;
}

interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
  /** Inode and path. */
  readonly file: string;
}

function readMaps(pid: number): Mapping[] {
  const line = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+) +(\/.*)$/;
  return readProcessFile(pid, "maps")
    .split("\n")
    .flatMap((each) => {
      const [, start, end, inode, path] = line.exec(each) ?? [];
      return start === undefined
        ? []
        : [{ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`), file: `${inode} ${path}` }];
    });
}

function fdsByFile(pid: number, links: ReadonlyMap<number, string>): Map<string, number> {
  const fds = new Map<string, number>();
  for (const [fd, link] of links) {
    if (!link.startsWith("/")) continue;
    const inode = statFile(`/proc/${pid}/fd/${fd}`)?.ino;
    const file = `${inode} ${link}`;
    if (inode !== undefined && !fds.has(file)) fds.set(file, fd);
  }
  return fds;
}
