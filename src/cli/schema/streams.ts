// What the commands that read streams print with --json.

import { z } from "zod";

const offset = z.int().nonnegative().describe("in bytes, from the input's first byte");
const size = z.int().nonnegative().describe("in bytes");

/** On standard error, of every command: { "error": … }. */
export const error = z.object({
  error: z.object({
    code: z.string().describe("stable, such as ERR_EOF"),
    message: z.string(),
    path: z.string().optional(),
    offset: offset.optional(),
    errno: z.string().optional(),
    syscall: z.string().optional(),
  }),
});

const problem = error.shape.error;

const field = z.object({
  name: z.union([z.string(), z.int()]),
  type: z.string(),
  offset,
  size,
  value: z.json().optional().describe("a number beyond 2^53-1 is a decimal text, a buffer a text of hex digits"),
  get fields() {
    return z.array(field).optional();
  },
});

const section = z.object({
  type: z.enum(["start", "part", "end", "full"]),
  id: z.int(),
  name: z.string(),
  instance: z.int(),
  version: z.int(),
  offset,
  size,
  count: z.int().optional().describe("how many sections this stands for, if more than one"),
  packaged: z.literal(true).optional(),
  opaque: z.string().optional().describe("why it is not decoded"),
  decoded: z.boolean().optional(),
  fields: z.array(field).optional(),
});

const ramBlock = z.object({
  name: z.string(),
  offset,
  usedLength: size,
  pageSize: size.optional(),
  address: z.union([z.int(), z.string()]).optional(),
  mapped: z.object({ version: z.int(), pageSize: size, bitmapOffset: offset, pagesOffset: offset }).optional(),
  pages: z.int(),
  zeroPages: z.int(),
  xbzrlePages: z.int(),
  compressedPages: z.int(),
  bytes: size,
});

const snapshot = z.object({
  id: z.string(),
  name: z.string(),
  time: z.int().describe("seconds since 1970"),
  clock: z.string().describe("ns that the machine had run, as a decimal text"),
  stateSize: size,
});

const wrapping = z.union([
  z.object({ kind: z.enum(["gzip", "zstd", "xz", "lz4", "bzip2", "lzop"]), offset }),
  z.object({
    kind: z.literal("libvirt-save"),
    offset,
    size,
    version: z.int(),
    complete: z.boolean(),
    wasRunning: z.boolean(),
    format: z.string(),
    xml: z.string(),
    cookie: z.string().nullable(),
  }),
  z.object({ kind: z.literal("qcow2"), offset, snapshot }),
  z.object({ kind: z.literal("bytes-before"), offset, size, returnPath: z.array(z.string()) }),
]);

/** `inspect` of a migration stream. */
export const inspectMigration = z.object({
  format: z.literal("qevm"),
  version: z.int(),
  machine: z.string().nullable(),
  offset,
  size,
  end: offset,
  complete: z.boolean(),
  trailing: z.object({ offset, size, stream: offset.optional() }).optional(),
  pageSize: size,
  pageSizeStated: z.boolean(),
  configuration: z
    .object({
      offset,
      size,
      targetPageBits: z.int().optional(),
      capabilities: z.array(z.string()),
      uuid: z.string().optional(),
    })
    .optional(),
  sections: z.array(section),
  commands: z.array(z.object({ offset, number: z.int(), name: z.string(), size, fields: z.array(field) })),
  ram: z
    .object({
      pageSize: size,
      totalBytes: size,
      blocks: z.array(ramBlock),
      pages: z.int(),
      zeroPages: z.int(),
      xbzrlePages: z.int(),
      compressedPages: z.int(),
      filledPages: z.int(),
      bytes: size,
      multifdFlushes: z.int(),
      mappedRam: z.boolean(),
      ignoreShared: z.boolean(),
    })
    .nullable(),
  vmdescription: z.object({ offset, size }).optional(),
  problems: z.array(problem),
  stopped: problem.optional(),
  wrapping: z.array(wrapping),
});

/** `inspect --ram-block`. */
export const inspectRamBlock = z.object({
  block: z.string(),
  output: z.string(),
  usedLength: size,
  pages: z.int(),
  zeroPages: z.int(),
  xbzrlePages: z.int(),
});

/** `inspect` of a qcow2 image, without --snapshot. */
export const inspectQcow2 = z.object({ format: z.literal("qcow2"), snapshots: z.array(snapshot) });

/** `inspect` of a CPR state. */
export const inspectCpr = z.object({
  format: z.literal("qcpr"),
  version: z.int(),
  abi: z.enum(["list", "hash"]),
  bytes: size,
  fds: z.array(z.object({ name: z.string(), id: z.int(), offset, fd: z.int().nullable() })),
  subsections: z.array(
    z.object({
      name: z.string(),
      offset,
      devices: z.array(z.object({ name: z.string(), devid: z.int(), ioasId: z.int(), hwptId: z.int() })).nullable(),
    }),
  ),
  warnings: z.array(z.string()),
});

const side = z.object({ offset: offset.nullable(), value: z.json() }).nullable();

/** `diff` of migration streams. */
export const diffMigration = z.object({
  differences: z.array(z.object({ kind: z.string(), section: z.string(), path: z.string(), a: side, b: side })),
  ignored: z.int().nonnegative().describe("how many --ignore left out"),
});

const place = z.object({ offset, fd: z.int().nullable() });

/** `diff` of CPR states. */
export const diffCpr = z.object({
  differences: z.array(
    z.union([
      z.object({ kind: z.literal("abi"), a: z.string(), b: z.string() }),
      z.object({ kind: z.literal("fd"), name: z.string(), id: z.int(), a: place.optional(), b: place.optional() }),
      z.object({ kind: z.literal("order") }),
      z.object({ kind: z.literal("subsection"), name: z.string(), a: z.string().optional(), b: z.string().optional() }),
    ]),
  ),
});

/** `check`. */
export const check = z.object({
  compared: z.enum(["machines", "descriptions"]),
  findings: z.array(
    z.object({
      code: z.string(),
      severity: z.enum(["error", "warning"]),
      section: z.string(),
      path: z.string(),
      message: z.string(),
    }),
  ),
});

/** `explain`. */
export const explain = z.object({
  explanations: z.array(
    z.object({
      code: z.string(),
      section: z.string().optional(),
      field: z.string().optional(),
      what: z.string(),
      why: z.string(),
      remedy: z.string(),
      line: z.int().positive(),
      said: z.string(),
    }),
  ),
});

/** `web`. */
export const web = z.object({
  url: z.string(),
  files: z.array(z.string()),
  vm: z.string().nullable(),
  /** Whether a browser was told to open it. */
  opened: z.boolean(),
});
