// Disks and discs: what is in each device, the graph of nodes below, their limits, bitmaps, jobs, exports, open files.

import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import type { VmProcess } from "../vm/process.ts";
import type { Asker } from "./ask.ts";
import { openFile } from "./open-files.ts";
import type { Machine } from "./schema.ts";

type Block = Machine["block"];
type OpenFile = Block["nodes"][number]["open"];

/** @throws CprkitError as {@link Asker.ask} */
export async function readBlock(
  { ask }: Asker,
  process: VmProcess,
  links: ReadonlyMap<number, string>,
  waitedFdsets: Promise<Machine["fdsets"]>,
): Promise<Block> {
  const [fdsets, devices = [], nodes = [], graph, jobs = [], exports = [], stats = []] = await Promise.all([
    waitedFdsets,
    ask("query-block"),
    ask("query-named-block-nodes", { flat: true }),
    ask("x-debug-query-block-graph"),
    ask("query-jobs"),
    ask("query-block-exports"),
    ask("query-blockstats"),
  ]);
  const nameOf = new Map(graph?.nodes.map(({ id, name }) => [id, name]));
  const idOf = new Map(
    graph?.nodes.flatMap(({ id, type, name }) => (type === "block-driver" ? [[name, id] as const] : [])),
  );
  return {
    devices: devices.map(({ device, qdev, removable, locked, inserted, ...rest }) => ({
      device,
      qdev,
      node: inserted?.["node-name"],
      removable,
      locked,
      trayOpen: rest.tray_open,
      ioStatus: rest["io-status"],
      limits: limitsOf(inserted ?? {}),
      writeback: inserted?.cache.writeback,
      histograms: histogramsOf(stats.find((one) => one.qdev === qdev && (one.device ?? "") === device)?.stats),
    })),
    nodes: nodes.map((node) => {
      const { "node-name": name = "", drv, file, ro, image, cache, "dirty-bitmaps": bitmaps = [], ...rest } = node;
      const { filename: _, "virtual-size": size, ...format } = image;
      const others = Object.entries({ ...format, ...rest }).filter(([key]) => !isElsewhere(key));
      return {
        name,
        driver: drv,
        file,
        readOnly: ro,
        size,
        children: (graph?.edges ?? [])
          .filter(({ parent }) => parent === idOf.get(name))
          .map((edge) => ({ name: edge.name, node: nameOf.get(edge.child) ?? "" })),
        cache: { writeback: cache.writeback, direct: cache.direct, noFlush: cache["no-flush"] },
        limits: limitsOf(node),
        bitmaps: bitmaps.map(({ name: bitmap, granularity, count, recording, persistent }) => ({
          name: bitmap,
          granularity,
          count,
          recording,
          persistent,
        })),
        open: fileDrivers.has(drv) ? findOpen(process, links, fdsets, file) : undefined,
        other: Object.fromEntries(others),
      };
    }),
    jobs,
    exports,
  };
}

/** Drivers whose node is one file of this host (block/file-posix.c). */
const fileDrivers: ReadonlySet<string> = new Set(["file", "host_device", "host_cdrom"]);

const limitName = /^(bps|iops)(_|$)/;

/** In a field of its own, or, for `children` of QEMU 11.1, in the graph; "backing-image" is the image of another node. */
function isElsewhere(key: string): boolean {
  return limitName.test(key) || ["group", "children", "limits", "backing-image", "throttle-group"].includes(key);
}

/** Bounds alone: what was counted is a statistic, as the number of requests is. */
function histogramsOf(stats: Readonly<Record<string, unknown>> = {}): Record<string, number[]> | undefined {
  const found = Object.entries(stats).flatMap(([key, value]) => {
    const kind = /^(.*)_latency_histogram$/.exec(key)?.[1];
    const { boundaries } = (value ?? {}) as { readonly boundaries?: number[] };
    return kind === undefined || boundaries === undefined ? [] : [[kind, boundaries] as const];
  });
  return found.length === 0 ? undefined : Object.fromEntries(found);
}

function limitsOf(node: Readonly<Record<string, unknown>>): Record<string, number | string> {
  const limits: Record<string, number | string> = {};
  for (const [key, value] of Object.entries(node)) {
    if (limitName.test(key) && typeof value === "number" && value > 0) limits[key] = value;
    if (key === "group" && typeof value === "string") limits[key] = value;
  }
  return limits;
}

/**
 * The open file behind a node, by its name: QEMU does not say which fd is whose. A file that was renamed since, or one
 * of another mount namespace, may not be found.
 */
function findOpen(
  { identity: { pid }, cwd }: VmProcess,
  links: ReadonlyMap<number, string>,
  fdsets: Machine["fdsets"],
  file: string,
): OpenFile {
  const fdset = /^\/dev\/fdset\/(\d+)$/.exec(file)?.[1];
  if (fdset !== undefined) {
    const fd = fdsets.find((set) => set["fdset-id"] === Number(fdset))?.fds[0]?.fd;
    const link = fd === undefined ? undefined : links.get(fd);
    return fd === undefined || link === undefined ? undefined : openFile(pid, fd, link);
  }
  const path = resolve(cwd, file);
  const names = new Set([path, realPathOf(path), `${path} (deleted)`]);
  const [fd, link] = [...links].find(([, each]) => names.has(each)) ?? [];
  return fd === undefined || link === undefined ? undefined : openFile(pid, fd, link);
}

function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
