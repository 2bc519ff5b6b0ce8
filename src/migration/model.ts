// What reading a migration stream gives. Offsets are counted from the input's first byte.

import type { Description } from "../vmstate/description.ts";
import type { CprkitError } from "../vmstate/error.ts";

export interface Migration {
  readonly format: "qevm";
  /** Version of the stream format. */
  readonly version: number;
  /** Where the header stands. */
  readonly offset: number;
  /** Bytes from the header to the end of what was understood. */
  readonly size: number;
  /** The machine type of the configuration section. */
  readonly machine: string | undefined;
  readonly configuration: Configuration | undefined;
  /** Guest page size in bytes: of the JSON description, else of the configuration, else 4096. */
  readonly pageSize: number;
  /** In stream order. */
  readonly sections: readonly Section[];
  readonly commands: readonly Command[];
  readonly ram: Ram | undefined;
  /** The JSON at the end, with which the sections were decoded. */
  readonly vmdescription: Vmdescription | undefined;
  /** The end byte 00 was reached. */
  readonly complete: boolean;
  /** Why the walk stopped before the end, and where; undefined if it did not. */
  readonly stopped: CprkitError | undefined;
  /** What was wrong in between; the walk went on after it. */
  readonly problems: readonly CprkitError[];
}

/** The configuration section (QEMU 10.0 migration/savevm.c). */
export interface Configuration {
  readonly offset: number;
  readonly size: number;
  readonly machine: string;
  /** log2 of the page size; sent when it differs from the CPU's minimum. */
  readonly targetPageBits: number | undefined;
  /** Only "x-ignore-shared" and "mapped-ram" are ever listed. */
  readonly capabilities: readonly string[];
  /** 16 bytes as hex digits with dashes. */
  readonly uuid: string | undefined;
}

export type SectionType = "start" | "part" | "end" | "full";

export interface Section {
  readonly type: SectionType;
  /** The sender's number for the entry: unique in the stream, without a meaning outside of it. */
  readonly id: number;
  /** `<device path>/<VMSD name>` or the VMSD name (idstr). PART and END have that of their START. */
  readonly name: string;
  readonly instance: number;
  readonly version: number;
  readonly offset: number;
  /** Bytes with header and footer. */
  size: number;
  bodyOffset: number;
  bodySize: number;
  footer: boolean;
  /** Sections in this entry: long runs of PART sections of one id share an entry. */
  count: number;
  /** Inside a PACKAGED command. */
  readonly packaged: boolean;
  /** Fields that were decoded, in the order of the wire. */
  fields: readonly FieldNode[];
  /** The device's own state; undefined for iterative sections. */
  device: DeviceState | undefined;
  /** Why the body is not decoded, in a sentence. */
  opaque: string | undefined;
}

/** A FULL section's body and what it holds. */
export interface DeviceState {
  readonly body: Uint8Array;
  /** Undefined when nothing describes the section. */
  readonly description: Description<Record<string, unknown>> | undefined;
  /** The decoded values, as the description has them: `encodeDevice` writes them again. */
  readonly state: Record<string, unknown> | undefined;
}

/** A decoded field, with where it stands. */
export interface FieldNode {
  /** The field's name, an element's index, or a subsection's full name. */
  readonly name: string | number;
  /** QEMU's type name; "subsection" for a subsection. */
  readonly type: string;
  readonly offset: number;
  readonly size: number;
  /** Scalars, buffers, and arrays of scalars; undefined if there are `fields`, or if the input broke off here. */
  readonly value: unknown;
  readonly fields: readonly FieldNode[] | undefined;
}

export interface Command {
  readonly offset: number;
  readonly number: number;
  readonly name: string;
  /** Bytes of the payload, for PACKAGED also those of the package. */
  readonly size: number;
  readonly fields: readonly FieldNode[];
  readonly packaged: boolean;
}

export interface Ram {
  readonly pageSize: number;
  /** Sum of the blocks' used lengths as the stream states it. */
  readonly totalBytes: number;
  readonly blocks: readonly RamBlock[];
  /** Records of all blocks together. */
  readonly pages: number;
  readonly zeroPages: number;
  readonly xbzrlePages: number;
  readonly compressedPages: number;
  /** Zero-page records with another byte than 0, which QEMU of today refuses. */
  readonly filledPages: number;
  /** Guest data in the stream, without record headers. */
  readonly bytes: number;
  /** MULTIFD_FLUSH records: pages travel on other channels. */
  readonly multifdFlushes: number;
  readonly mappedRam: boolean;
  readonly ignoreShared: boolean;
}

export interface RamBlock {
  readonly name: string;
  readonly offset: number;
  readonly usedLength: number;
  /** Only in the stream with postcopy-ram, for a block of another page size. */
  readonly pageSize: number | undefined;
  /** Guest physical address; only with x-ignore-shared. */
  readonly address: bigint | undefined;
  readonly mapped: MappedRam | undefined;
  /** Whole pages in the stream; a page that was sent twice counts twice. */
  pages: number;
  zeroPages: number;
  xbzrlePages: number;
  /** Pages packed with zlib, which QEMU before 9.1 could send. */
  compressedPages: number;
  /** Guest data in the stream, without record headers. */
  bytes: number;
}

/** Where mapped-ram put a block. Both offsets are the file's. */
export interface MappedRam {
  readonly version: number;
  readonly pageSize: number;
  readonly bitmapOffset: number;
  readonly pagesOffset: number;
}

export interface Vmdescription {
  readonly offset: number;
  readonly size: number;
  /** The JSON as it stands in the stream. */
  readonly text: string;
}

/** A page of guest RAM as it passes. */
export interface RamPage {
  readonly block: string;
  /** Offset in the block. */
  readonly offset: number;
  /** Bytes of guest RAM: the page size. */
  readonly size: number;
  readonly kind: "page" | "zero" | "xbzrle";
  /**
   * The page; for "xbzrle" the delta against the page's content so far (see `applyXbzrle`); for "zero" undefined. A
   * view that is valid during the call only.
   */
  readonly data: Uint8Array | undefined;
}
