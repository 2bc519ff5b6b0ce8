// What each QMP command that cprkit uses returns, once: the schema checks the reply and gives it its type. All objects
// are loose, so that what a newer QEMU adds survives. Source of the shapes: QEMU 10.0 to 11.1 qapi/*.json.
// Sizes are JavaScript numbers: QMP values above 2^53 lose their last bits.

import { z } from "zod";

const nothing = z.looseObject({});

/** The version within the greeting. */
export const qmpVersionSchema = z.looseObject({
  qemu: z.looseObject({ major: z.number(), minor: z.number(), micro: z.number() }),
  package: z.string(),
});

const migrationInfo = z.looseObject({
  status: z.string().optional(),
  "error-desc": z.string().optional(),
  "blocked-reasons": z.array(z.string()).optional(),
  "total-time": z.number().optional(),
  "setup-time": z.number().optional(),
  downtime: z.number().optional(),
  "expected-downtime": z.number().optional(),
  "cpu-throttle-percentage": z.number().optional(),
  ram: z
    .looseObject({
      transferred: z.number(),
      remaining: z.number(),
      total: z.number(),
      mbps: z.number(),
      "dirty-pages-rate": z.number(),
      duplicate: z.number().optional(),
      normal: z.number().optional(),
      "normal-bytes": z.number().optional(),
      "dirty-sync-count": z.number().optional(),
      "page-size": z.number().optional(),
    })
    .optional(),
  "socket-address": z.array(z.looseObject({ type: z.string(), path: z.string().optional() })).optional(),
});

const migrationParameters = z.looseObject({
  mode: z.string().optional(),
  "cpr-exec-command": z.array(z.string()).optional(),
  "max-bandwidth": z.number().optional(),
  "downtime-limit": z.number().optional(),
  "multifd-channels": z.number().optional(),
  "tls-creds": z.string().optional(),
  "tls-hostname": z.string().optional(),
});

const machine = z.looseObject({
  name: z.string(),
  alias: z.string().optional(),
  "is-default": z.boolean().optional(),
  "cpu-max": z.number(),
  "hotpluggable-cpus": z.boolean(),
  "numa-mem-supported": z.boolean(),
  deprecated: z.boolean(),
  "default-cpu-type": z.string().optional(),
  "default-ram-id": z.string().optional(),
});

const cpu = z.looseObject({
  "cpu-index": z.number(),
  "qom-path": z.string(),
  "thread-id": z.number(),
  target: z.string().optional(),
});

const imageInfo = z.looseObject({
  filename: z.string(),
  format: z.string(),
  "virtual-size": z.number(),
  "backing-filename": z.string().optional(),
});

const dirtyBitmap = z.looseObject({
  name: z.string().optional(),
  count: z.number(),
  granularity: z.number(),
  recording: z.boolean(),
  persistent: z.boolean(),
});

const blockNode = z.looseObject({
  file: z.string(),
  "node-name": z.string().optional(),
  ro: z.boolean(),
  drv: z.string(),
  backing_file: z.string().optional(),
  image: imageInfo,
  cache: z.looseObject({ writeback: z.boolean(), direct: z.boolean(), "no-flush": z.boolean() }),
  "dirty-bitmaps": z.array(dirtyBitmap).optional(),
});

const blockDevice = z.looseObject({
  device: z.string(),
  qdev: z.string().optional(),
  removable: z.boolean(),
  locked: z.boolean(),
  tray_open: z.boolean().optional(),
  "io-status": z.string().optional(),
  inserted: blockNode.optional(),
});

const blockGraph = z.looseObject({
  nodes: z.array(z.looseObject({ id: z.number(), type: z.string(), name: z.string() })),
  edges: z.array(z.looseObject({ parent: z.number(), child: z.number(), name: z.string() })),
});

const job = z.looseObject({
  id: z.string(),
  type: z.string(),
  status: z.string(),
  "current-progress": z.number(),
  "total-progress": z.number(),
});

const blockExport = z.looseObject({ id: z.string(), type: z.string(), "node-name": z.string() });

const iothread = z.looseObject({ id: z.string(), "thread-id": z.number(), "poll-max-ns": z.number() });

const vncServer = z.looseObject({
  id: z.string(),
  server: z.array(z.looseObject({ host: z.string(), service: z.string(), family: z.string() })),
  auth: z.string(),
});

const chardev = z.looseObject({ label: z.string(), filename: z.string(), "frontend-open": z.boolean() });

const memdev = z.looseObject({
  id: z.string().optional(),
  size: z.number(),
  merge: z.boolean(),
  dump: z.boolean(),
  prealloc: z.boolean(),
  share: z.boolean().optional(),
  reserve: z.boolean().optional(),
  "host-nodes": z.array(z.number()),
  policy: z.string(),
});

const property = z.looseObject({ name: z.string(), type: z.string() });
const propertyWithDefault = property.extend({ "default-value": z.unknown().optional() });

/** Schemas of the returns of the commands that cprkit knows, by the command's name. */
export const qmpReturns = {
  "query-status": z.looseObject({ status: z.string(), running: z.boolean() }),
  "query-kvm": z.looseObject({ enabled: z.boolean(), present: z.boolean() }),
  "query-vm-generation-id": z.looseObject({ guid: z.string() }),
  "query-machines": z.array(machine),
  "query-cpus-fast": z.array(cpu),
  "query-memdev": z.array(memdev),
  "query-name": z.looseObject({ name: z.string().optional() }),
  "query-named-block-nodes": z.array(blockNode),
  "query-block": z.array(blockDevice),
  "x-debug-query-block-graph": blockGraph,
  "query-jobs": z.array(job),
  "query-blockstats": z.array(
    z.looseObject({ device: z.string().optional(), qdev: z.string().optional(), stats: z.looseObject({}) }),
  ),
  "query-block-exports": z.array(blockExport),
  "query-chardev": z.array(chardev),
  "query-iothreads": z.array(iothread),
  "query-vnc-servers": z.array(vncServer),
  "query-migrate": migrationInfo,
  "calc-dirty-rate": nothing,
  "query-dirty-rate": z.looseObject({ status: z.string(), "dirty-rate": z.number().optional() }),
  "query-migrate-parameters": migrationParameters,
  "query-migrate-capabilities": z.array(z.looseObject({ capability: z.string(), state: z.boolean() })),
  "migrate-set-parameters": nothing,
  "migrate-set-capabilities": nothing,
  migrate: nothing,
  "migrate-incoming": nothing,
  migrate_cancel: nothing,
  cont: nothing,
  stop: nothing,
  quit: nothing,
  "qom-list": z.array(property),
  "qom-get": z.unknown(),
  "qom-list-get": z.array(z.looseObject({ properties: z.array(property.extend({ value: z.unknown().optional() })) })),
  "device-list-properties": z.array(propertyWithDefault),
  "qom-list-properties": z.array(propertyWithDefault),
  "qom-list-types": z.array(
    z.looseObject({ name: z.string(), abstract: z.boolean().optional(), parent: z.string().optional() }),
  ),
  "human-monitor-command": z.string(),
  "trace-event-get-state": z.array(z.looseObject({ name: z.string(), state: z.string() })),
  "query-fdsets": z.array(
    z.looseObject({
      "fdset-id": z.number(),
      fds: z.array(z.looseObject({ fd: z.number(), opaque: z.string().optional() })),
    }),
  ),
} as const satisfies Record<string, z.ZodType>;

/** Name of a command whose return is described. */
export type QmpCommand = keyof typeof qmpReturns;

/** What the command returns: described for a {@link QmpCommand}, unknown for any other. */
export type QmpReturn<C extends string> = C extends QmpCommand ? z.infer<(typeof qmpReturns)[C]> : unknown;
