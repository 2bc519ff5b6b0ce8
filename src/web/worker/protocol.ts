// What the page asks its worker, and what the worker answers.

import type { CprDifference, CprReport } from "../../cpr/index.ts";
import type { CheckFinding, Difference, Explanation, Migration, RamPlaceKind, Section } from "../../migration/index.ts";
import type { Span } from "../../vmstate/shown/spans.ts";

/** Where a file's bytes are: in the file that the user gave, or at the server that the user started. */
export type From =
  | { readonly kind: "file"; readonly file: Blob; readonly name: string }
  | { readonly kind: "served"; readonly url: string; readonly name: string; readonly size: number };

/** How a file is opened; as the options of `cprkit inspect`. */
export interface OpenOptions {
  readonly offset?: number | undefined;
  readonly snapshot?: string | undefined;
  readonly pageSize?: number | undefined;
}

/** An error as plain data. */
export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly path?: string | undefined;
  readonly offset?: number | undefined;
}

/** A migration as the page has it: without what the decoder needs itself. */
export interface ShownMigration extends Omit<Migration, "problems" | "stopped"> {
  readonly sections: readonly Section[];
  readonly problems: readonly Problem[];
  readonly stopped: Problem | undefined;
}

/** A CPR state as the page has it. */
export interface ShownCpr {
  readonly report: CprReport;
  readonly bytes: Uint8Array;
  readonly spans: readonly Span[];
  /** The same fds, written in each ABI; undefined for a damaged state. */
  readonly written:
    | Readonly<Record<"list" | "hash", { readonly bytes: Uint8Array; readonly spans: readonly Span[] }>>
    | undefined;
}

/** A snapshot to choose from. */
interface ShownSnapshot {
  readonly id: string;
  readonly name: string;
  readonly time: number;
  readonly stateSize: number;
}

/** What was found in a file. Offsets are those of the stream, when what was around it has been taken off. */
export interface Opened {
  readonly name: string;
  /** Of the file, in bytes. */
  readonly fileSize: number;
  /** Of what was in it, in bytes. */
  readonly size: number;
  /** What is around the stream, from the outside in. */
  readonly wrapping: readonly string[];
  /** What was wrong with the compression, or with a CPR state. */
  readonly damage: Problem | undefined;
  readonly migration: ShownMigration | undefined;
  readonly cpr: ShownCpr | undefined;
  /** A qcow2 image of which no snapshot was named. */
  readonly snapshots: readonly ShownSnapshot[] | undefined;
  /** Guest RAM has been read: its pages are counted. */
  readonly ramRead: boolean;
  /** Until the devices could be shown, in ms. */
  readonly took: number;
}

/** Pages of one cell of a RAM map by kind. */
export const cellKinds = ["data", "zero", "xbzrle", "other", "absent"] as const;

/** A part of a block's map: for each cell the counts by {@link cellKinds}. */
export interface RamMapPart {
  readonly counts: Uint32Array;
}

/** Where a page of guest RAM is in the stream. */
export interface PagePlace {
  readonly kind: RamPlaceKind | "absent";
  /** Of its content; undefined if it was not kept where that is, or there is none. */
  readonly at: number | undefined;
  readonly size: number;
}

/** What two streams have apart. */
export interface Compared {
  readonly differences: readonly Difference[];
  readonly findings: readonly CheckFinding[];
  /** Of each finding, in its order: what QEMU says then, and what that means; undefined if it is not known. */
  readonly explanations: readonly (Explanation | undefined)[];
  readonly cpr: readonly CprDifference[] | undefined;
  /** Why `check` gives no verdict. */
  readonly unchecked: string | undefined;
}

/** Each question with its answer. */
export interface Calls {
  open: {
    readonly ask: { readonly doc: number; readonly from: From; readonly options: OpenOptions };
    readonly answer: Opened;
  };
  close: { readonly ask: { readonly doc: number }; readonly answer: undefined };
  bytes: {
    readonly ask: { readonly doc: number; readonly offset: number; readonly length: number };
    readonly answer: Uint8Array;
  };
  /** Reads guest RAM; progress comes meanwhile. Undefined if it was given up. */
  ram: { readonly ask: { readonly doc: number }; readonly answer: ShownMigration | undefined };
  cancel: { readonly ask: { readonly doc: number }; readonly answer: undefined };
  map: {
    readonly ask: {
      readonly doc: number;
      readonly block: string;
      readonly first: number;
      readonly perCell: number;
      readonly cells: number;
    };
    readonly answer: RamMapPart;
  };
  page: {
    readonly ask: { readonly doc: number; readonly block: string; readonly page: number };
    readonly answer: PagePlace;
  };
  /** What `cprkit inspect --json` prints, without what is around the stream. */
  json: { readonly ask: { readonly doc: number }; readonly answer: string };
  compare: { readonly ask: { readonly a: number; readonly b: number }; readonly answer: Compared };
  explain: {
    readonly ask: { readonly doc: number | undefined; readonly log: string };
    readonly answer: readonly Explanation[];
  };
}

/** The name of a question. */
export type Call = keyof Calls;

/** To the worker. */
export interface Asked {
  readonly id: number;
  readonly call: Call;
  readonly ask: Calls[Call]["ask"];
}

/** From the worker. */
export type Told =
  | { readonly kind: "answer"; readonly id: number; readonly answer: Calls[Call]["answer"] }
  | { readonly kind: "failed"; readonly id: number; readonly problem: Problem }
  | {
      readonly kind: "progress";
      readonly doc: number;
      readonly what: "unpacking" | "reading" | "reading RAM";
      readonly done: number;
      readonly total: number | undefined;
    };
