// What is measured: each row of the table, with its peers and its aim (docs/performance.md).

/** A program to run for a case: cprkit's own process, or one of the C peers. */
export interface Side {
  readonly label: string;
  readonly program: "cprkit" | "lookup" | "codec" | "codec-lean" | "fdpass";
  readonly case: string;
}

/** cprkit beside peers that do the same work, at some sizes. */
export interface Row {
  readonly id: string;
  readonly what: string;
  readonly unit: "ns a look-up" | "ns an fd" | "ns a value" | "ns an entry" | "bytes an fd" | "ms";
  readonly sizes: readonly number[];
  readonly ours: Side;
  /** The aim is for the first. */
  readonly peers: readonly Side[];
  /** At most this ratio, cprkit to the peer of that place. */
  readonly aims: readonly (number | undefined)[];
  /** How many times as often as others it runs: more where a run gives one figure. Default 1. */
  readonly times?: number;
}

const ownCase = (name: string): Side => ({ label: "cprkit", program: "cprkit", case: name });
const cHash = (name: string): Side => ({ label: "C GHashTable", program: "lookup", case: `hash.${name}` });

const lookUpSizes = [540, 2870, 7530, 100_000, 1_000_000];
const codecSizes = [7530, 100_000];

const recordSide =
  (label: string, way: string) =>
  (what: string): Side => ({
    label,
    program: "cprkit",
    case: `records.${what}.${way}`,
  });
const recordPeers = [
  recordSide("written by hand", "hand"),
  recordSide("msgpackr", "msgpackr"),
  recordSide("avsc", "avsc"),
  recordSide("protobufjs", "protobufjs"),
  recordSide("protobuf-es", "protobuf-es"),
  recordSide("engine", "engine"),
];

const codecRows: readonly Row[] = (["load", "save"] as const).flatMap((what): Row[] => [
  {
    id: `records-${what}`,
    what: `${what} records of 12 values, compiled`,
    unit: "ns a value",
    sizes: [5000],
    ours: ownCase(`records.${what}.compiled`),
    peers: recordPeers.map((side) => side(what)),
    aims: [1.5, 1, 1, 1, 1, undefined],
  },
  {
    id: `nested-${what}`,
    what: `${what} records in records, compiled`,
    unit: "ns a value",
    sizes: [5000],
    ours: ownCase(`nested.${what}.compiled`),
    peers: [
      { label: "written by hand", program: "cprkit", case: `nested.${what}.hand` },
      { label: "engine", program: "cprkit", case: `nested.${what}.engine` },
    ],
    aims: [undefined, undefined],
  },
  {
    id: `ghash-${what}`,
    what: `${what} a hash table, compiled`,
    unit: "ns an entry",
    sizes: [1_000_000],
    ours: ownCase(`ghash.${what}.compiled`),
    peers: [
      { label: "written by hand", program: "cprkit", case: `ghash.${what}.hand` },
      { label: "engine", program: "cprkit", case: `ghash.${what}.engine` },
    ],
    aims: [2, undefined],
    // Each round takes so long that one run of each is enough.
    times: 1 / 3,
  },
]);

export const rows: readonly Row[] = [
  {
    id: "find",
    what: "findFd, N of N, in random order",
    unit: "ns a look-up",
    sizes: lookUpSizes,
    ours: ownCase("hash.find"),
    peers: [cHash("find"), { label: "C, names interned", program: "lookup", case: "interned.find" }],
    aims: [0.5, undefined],
  },
  {
    id: "find-in-order",
    what: "findFd, N of N, in the order of the devices",
    unit: "ns a look-up",
    sizes: lookUpSizes,
    ours: ownCase("hash.find_in_order"),
    peers: [{ ...cHash("find"), label: "C GHashTable, in order" }],
    aims: [0.5],
  },
  {
    id: "fresh",
    what: "names rebuilt for every look-up",
    unit: "ns a look-up",
    sizes: lookUpSizes,
    ours: ownCase("hash.find_fresh"),
    peers: [
      { ...cHash("find_strdup_printf"), label: "C, g_strdup_printf" },
      { ...cHash("find_snprintf"), label: "C, snprintf" },
    ],
    aims: [1, undefined],
  },
  {
    id: "miss",
    what: "misses (-1)",
    unit: "ns a look-up",
    sizes: lookUpSizes,
    ours: ownCase("hash.miss"),
    peers: [cHash("miss")],
    aims: [0.5],
  },
  {
    id: "save",
    what: "saveFd",
    unit: "ns an fd",
    sizes: lookUpSizes,
    ours: ownCase("hash.save"),
    peers: [cHash("save")],
    aims: [1],
  },
  {
    id: "delete",
    what: "deleteFd",
    unit: "ns an fd",
    sizes: lookUpSizes,
    ours: ownCase("hash.delete"),
    peers: [cHash("delete")],
    aims: [1],
  },
  {
    id: "memory",
    what: "memory",
    unit: "bytes an fd",
    sizes: lookUpSizes,
    ours: ownCase("hash.memory"),
    peers: [cHash("memory")],
    aims: [1.5],
  },
  {
    id: "list",
    what: "a linked list, for comparison",
    unit: "ns a look-up",
    sizes: [540, 1000, 2870, 7530, 20_000],
    ours: { ...ownCase("list.find"), label: "list in JavaScript" },
    peers: [{ label: "C list", program: "lookup", case: "list.find" }],
    aims: [undefined],
  },
  {
    id: "save-list",
    what: "save, list ABI",
    unit: "ns an fd",
    sizes: codecSizes,
    ours: ownCase("codec.list.save"),
    peers: [
      { label: "C hash, list on the wire", program: "codec", case: "flattened.save" },
      { label: "C list", program: "codec", case: "list.save" },
    ],
    aims: [1, undefined],
  },
  {
    id: "load-list",
    what: "load, list ABI",
    unit: "ns an fd",
    sizes: codecSizes,
    ours: ownCase("codec.list.load"),
    peers: [
      { label: "C hash, list on the wire", program: "codec", case: "flattened.load" },
      { label: "C list", program: "codec", case: "list.load" },
    ],
    aims: [1, undefined],
  },
  {
    id: "save-hash",
    what: "save, hash ABI",
    unit: "ns an fd",
    sizes: codecSizes,
    ours: ownCase("codec.hash.save"),
    peers: [{ label: "C hash on the wire", program: "codec", case: "hash.save" }],
    aims: [1],
  },
  {
    id: "load-hash",
    what: "load, hash ABI",
    unit: "ns an fd",
    sizes: codecSizes,
    ours: ownCase("codec.hash.load"),
    peers: [{ label: "C hash on the wire", program: "codec", case: "hash.load" }],
    aims: [1],
  },
  {
    id: "transfer",
    what: "transfer, process to process",
    unit: "ms",
    sizes: [7530],
    ours: ownCase("transfer.253"),
    peers: [
      { label: "C, 1 a message", program: "fdpass", case: "fdpass.1" },
      { label: "C, 253 a message", program: "fdpass", case: "fdpass.253" },
    ],
    aims: [0.25, 1.5],
  },
  {
    id: "transfer-16",
    what: "transfer, 16 a message, as to QEMU",
    unit: "ms",
    sizes: [7530],
    ours: ownCase("transfer.16"),
    peers: [{ label: "C, 16 a message", program: "fdpass", case: "fdpass.16" }],
    aims: [1.5],
  },
  {
    id: "exec",
    what: "live state across exec, from before the save until it is found",
    unit: "ms",
    sizes: [7530],
    ours: ownCase("exec.cprkit"),
    peers: [
      { label: "a call an fd, all modules", program: "cprkit", case: "exec.each" },
      { label: "Node does nothing with the fds", program: "cprkit", case: "exec.nothing" },
    ],
    aims: [0.6, undefined],
    times: 3,
  },
  ...codecRows,
  {
    id: "start",
    what: "N look-ups of a process that has just begun",
    unit: "ms",
    sizes: [540, 2870, 7530],
    ours: ownCase("start.hash"),
    peers: [{ label: "list in JavaScript", program: "cprkit", case: "start.list" }],
    aims: [undefined],
  },
];

/** All names for --only; the last has a shape of its own. */
export const rowIds: readonly string[] = [...rows.map(({ id }) => id), "inspect"];
