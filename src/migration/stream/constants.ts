// The numbers of the main migration stream (QEMU 10.0 migration/savevm.[ch], migration/ram.c).

/** "QEVM". */
export const magic = 0x5145564d;

/** The version that QEMU writes today; 2 is obsolete and refused. */
export const streamVersion = 3;

/** First byte of each item. */
export const item = {
  end: 0x00,
  start: 0x01,
  part: 0x02,
  final: 0x03,
  full: 0x04,
  subsection: 0x05,
  description: 0x06,
  configuration: 0x07,
  command: 0x08,
  footer: 0x7e,
} as const;

/** Flags in the low bits of a RAM record's first word. */
export const ramFlag = {
  full: 0x001,
  zero: 0x002,
  memSize: 0x004,
  page: 0x008,
  eos: 0x010,
  sameBlock: 0x020,
  xbzrle: 0x040,
  hook: 0x080,
  compressed: 0x100,
  multifdFlush: 0x200,
} as const;

/** First word of a multifd channel, which is not a migration stream by itself (QEMU 10.0 migration/multifd.h). */
export const multifdMagic = 0x11223344;

/** Messages of the return path by number, with the length of what they hold (QEMU 10.0 migration/migration.h). */
export const returnPath: readonly (
  | { readonly name: string; readonly shortest: number; readonly longest: number }
  | undefined
)[] = [
  undefined,
  { name: "SHUT", shortest: 4, longest: 4 },
  { name: "PONG", shortest: 4, longest: 4 },
  { name: "REQ_PAGES_ID", shortest: 13, longest: 268 },
  { name: "REQ_PAGES", shortest: 12, longest: 12 },
  { name: "RECV_BITMAP", shortest: 1, longest: 256 },
  { name: "RESUME_ACK", shortest: 4, longest: 4 },
  { name: "SWITCHOVER_ACK", shortest: 0, longest: 0 },
];

/** Commands by number, from 1 on (QEMU 10.0 migration/savevm.h). */
export const commandNames = [
  undefined,
  "OPEN_RETURN_PATH",
  "PING",
  "POSTCOPY_ADVISE",
  "POSTCOPY_LISTEN",
  "POSTCOPY_RUN",
  "POSTCOPY_RAM_DISCARD",
  "PACKAGED",
  "ENABLE_COLO",
  "POSTCOPY_RESUME",
  "RECV_BITMAP",
  "SWITCHOVER_START",
] as const;
