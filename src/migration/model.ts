// What reading a migration stream gives. All offsets and sizes are in bytes, offsets from the input's first byte, unless
// they say otherwise. Formats: QEMU 10.0 migration/savevm.c and migration/ram.c.

import type { Description } from "../vmstate/description.ts";
import type { CprkitError } from "../vmstate/error.ts";

/** A migration stream (QEVM) as `readMigration` understood it. */
export interface Migration {
  /** Tells it from a CPR state, which is "qcpr". */
  readonly format: "qevm";
  /** Version of the stream format: 3. */
  readonly version: number;
  /** Where the header is. */
  readonly offset: number;
  /** From the header to the end of what was understood. */
  readonly size: number;
  /** The machine type of the configuration section, such as "pc-q35-10.0"; undefined if there is no such section. */
  readonly machine: string | undefined;
  /** Undefined if the stream has no configuration section (`send-configuration=off`). */
  readonly configuration: Configuration | undefined;
  /** Guest page size: of the JSON description, else of the configuration, else 4096. */
  readonly pageSize: number;
  /** Whether the stream, or the caller, said so; else 4096 was taken. */
  readonly pageSizeStated: boolean;
  /** In the order of the stream. */
  readonly sections: readonly Section[];
  /** In the order of the stream. */
  readonly commands: readonly Command[];
  /** Undefined if the stream has no ram section. */
  readonly ram: Ram | undefined;
  /** The JSON at the end, with which the sections were decoded; undefined if there is none. */
  readonly vmdescription: Vmdescription | undefined;
  /** The end byte 00 was reached. */
  readonly complete: boolean;
  /** What follows the stream; undefined if nothing does, or it was not looked at (a pipe, without `toEnd`). */
  readonly trailing: Trailing | undefined;
  /** Why reading stopped before the end, and where; undefined if it did not. */
  readonly stopped: CprkitError | undefined;
  /** What was wrong in between; reading went on after it. At most 1,000 are kept. */
  readonly problems: readonly CprkitError[];
}

/** Bytes behind the stream's end: the rest of a volume, another stream, or what a capture has more. */
export interface Trailing {
  /** Where they begin: the stream's end. */
  readonly offset: number;
  /** Of more than 4 GiB on a pipe, not all are counted. */
  readonly size: number;
  /** Where another stream begins, within the first MiB; undefined if none does. */
  readonly stream: number | undefined;
}

/** The configuration section (QEMU 10.0 migration/savevm.c, vmstate_configuration). */
export interface Configuration {
  readonly offset: number;
  readonly size: number;
  /** The machine type, such as "pc-q35-10.0". */
  readonly machine: string;
  /** log2 of the page size; sent when it differs from the CPU's minimum. */
  readonly targetPageBits: number | undefined;
  /** Only "x-ignore-shared" and "mapped-ram" are ever listed. */
  readonly capabilities: readonly string[];
  /** 16 bytes as hex digits with dashes; sent with `-uuid` and the capability validate-uuid. */
  readonly uuid: string | undefined;
}

/**
 * How a section is sent: "full" at once, or, for what is sent while the guest runs, "start", any number of "part", and
 * "end" (QEMU 10.0 migration/savevm.h, QEMU_VM_SECTION_*).
 */
export type SectionType = "start" | "part" | "end" | "full";

/** One section of the stream: its header, and what its body holds. */
export interface Section {
  readonly type: SectionType;
  /** The sender's number for the section: unique in the stream, without a meaning outside of it. */
  readonly id: number;
  /** `<device path>/<VMSD name>` or the VMSD name (QEMU's idstr). "part" and "end" have that of their "start". */
  readonly name: string;
  /** Tells sections of one name apart. */
  readonly instance: number;
  /** Version of the body, as its header states it; "part" and "end" have that of their "start". */
  readonly version: number;
  /** Of the header. */
  readonly offset: number;
  /** With header and footer. */
  size: number;
  /** Of the first byte after the header. */
  bodyOffset: number;
  /** Without header and footer. */
  bodySize: number;
  /** It ends with a footer (7e and its id); machine types up to 2.3 send none (`send-section-footer=off`). */
  footer: boolean;
  /** How many sections this stands for: of a long run of "part" sections of one id, the later ones share an entry. */
  count: number;
  /** It is inside a PACKAGED command. */
  readonly packaged: boolean;
  /** Fields that were decoded, in the order of the stream; `walkFields` goes through them. */
  fields: readonly FieldNode[];
  /** The device's own state; undefined for what is not a described "full" section. */
  device: DeviceState | undefined;
  /** Why the body is not decoded, in a sentence; undefined if it is. */
  opaque: string | undefined;
}

/** The body of a "full" section and what it holds. */
export interface DeviceState {
  /** As it is in the stream. */
  readonly body: Uint8Array;
  /** Undefined if nothing describes the section. */
  readonly description: Description<Record<string, unknown>> | undefined;
  /** The decoded values, as the description has them; `encodeDevice` writes them again. Undefined if decoding failed. */
  readonly state: Record<string, unknown> | undefined;
}

/** A decoded field, with its place. */
export interface FieldNode {
  /** The field's name, an element's index, or a subsection's full name. */
  readonly name: string | number;
  /** QEMU's type name; "subsection" for a subsection, "summary" for a count that cprkit made. */
  readonly type: string;
  readonly offset: number;
  readonly size: number;
  /**
   * A number, bigint (64 bits), boolean, text, buffer, or an array of those; null for a pointer that is not set. Undefined
   * if there are `fields`, if QEMU's type is not described, or if the input broke off here.
   */
  readonly value: unknown;
  /** What is inside a structure, an array of structures or a subsection; undefined for everything else. */
  readonly fields: readonly FieldNode[] | undefined;
}

/** A command between the sections (QEMU 10.0 migration/savevm.h, enum qemu_vm_cmd). */
export interface Command {
  readonly offset: number;
  /** From 1 on. */
  readonly number: number;
  /** QEMU's name without MIG_CMD_, such as "PING"; "command 99" for a number that QEMU 10.0 does not have. */
  readonly name: string;
  /** Of the payload, without the five bytes before it; for PACKAGED with the package. */
  readonly size: number;
  /** What the payload holds. */
  readonly fields: readonly FieldNode[];
  /** It is inside a PACKAGED command. */
  readonly packaged: boolean;
}

/** Guest RAM in the stream, counted. */
export interface Ram {
  /** Guest page size. */
  readonly pageSize: number;
  /** Sum of the blocks' used lengths as the stream states it. */
  readonly totalBytes: number;
  readonly blocks: readonly RamBlock[];
  /** Whole pages of all blocks together; a page that was sent twice counts twice, here and below. */
  readonly pages: number;
  /** Pages of zeros. */
  readonly zeroPages: number;
  /** Pages sent as a difference (XBZRLE). */
  readonly xbzrlePages: number;
  /** Pages compressed with zlib, which QEMU before 9.1 could send. */
  readonly compressedPages: number;
  /** Zero-page records with another byte than 0, which QEMU 10.0 refuses. */
  readonly filledPages: number;
  /** Guest data in the stream, without record headers. */
  readonly bytes: number;
  /** MULTIFD_FLUSH records: pages travel on other channels. */
  readonly multifdFlushes: number;
  /** The capability mapped-ram was on: each page has a fixed place in the file. */
  readonly mappedRam: boolean;
  /** The capability x-ignore-shared was on: pages of shared memory are not in the stream. */
  readonly ignoreShared: boolean;
}

/** A block of guest RAM (QEMU's RAMBlock). */
export interface RamBlock {
  /** QEMU's idstr, such as "pc.ram". */
  readonly name: string;
  /** Of its entry in the block list. */
  readonly offset: number;
  /** Bytes of guest RAM. */
  readonly usedLength: number;
  /** Only with postcopy-ram, for a block of another page size. */
  readonly pageSize: number | undefined;
  /** Guest physical address; only with x-ignore-shared. */
  readonly address: bigint | undefined;
  /** Only with mapped-ram. */
  readonly mapped: MappedRam | undefined;
  /** Whole pages in the stream; a page that was sent twice counts twice, here and below. */
  pages: number;
  /** Pages of zeros. */
  zeroPages: number;
  /** Pages sent as a difference (XBZRLE). */
  xbzrlePages: number;
  /** Pages compressed with zlib, which QEMU before 9.1 could send. */
  compressedPages: number;
  /** Guest data in the stream, without record headers. */
  bytes: number;
}

/** Where mapped-ram put a block (QEMU 10.0 docs/devel/migration/mapped-ram.rst). Both offsets are the file's. */
export interface MappedRam {
  /** Of this header: 1. */
  readonly version: number;
  /** A power of two. */
  readonly pageSize: number;
  /** Of the bitmap, one bit per page. */
  readonly bitmapOffset: number;
  /** Of the block's first page. */
  readonly pagesOffset: number;
}

/** The JSON description that ends a stream (QEMU 10.0 migration/savevm.c, QEMU_VM_VMDESCRIPTION). */
export interface Vmdescription {
  /** Of its mark 06. */
  readonly offset: number;
  /** With mark and length. */
  readonly size: number;
  /** The JSON as it is in the stream. */
  readonly text: string;
}

/** How a page of guest RAM is in a stream; "filled": one byte that is not 0 stands for all. */
export type RamPlaceKind = "page" | "zero" | "xbzrle" | "compressed" | "filled";

/**
 * Told of a page of guest RAM: its block, its offset in the block, how it was sent, and where in the input, in how many
 * bytes, its content is.
 */
export type OnRamPlace = (block: string, offset: number, kind: RamPlaceKind, at: number, size: number) => void;

/** A page of guest RAM as it passes. */
export interface RamPage {
  /** Name of its block. */
  readonly block: string;
  /** Offset in the block. */
  readonly offset: number;
  /** Bytes of guest RAM: the page size. */
  readonly size: number;
  /** How it was sent. */
  readonly kind: "page" | "zero" | "xbzrle";
  /**
   * The page; for "xbzrle" the delta against the page's content so far (see `applyXbzrle`); for "zero" undefined. A
   * view that is valid during the call only.
   */
  readonly data: Uint8Array | undefined;
}
