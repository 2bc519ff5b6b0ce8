// What is known of guest RAM while the stream passes.

import type { OnRamPlace, Ram, RamBlock, RamPage } from "../model.ts";

export interface RamState {
  pageSize: number;
  totalBytes: number;
  blocks: RamBlock[];
  byName: Map<string, RamBlock>;
  /** The block of the record before: CONTINUE refers to it, across sections too. */
  current: RamBlock | undefined;
  filledPages: number;
  multifdFlushes: number;
  mappedRam: boolean;
  ignoreShared: boolean;
  /** Page sizes that postcopy announced (OR of all), or 0 without postcopy. */
  postcopyPageSizes: bigint;
  readonly onPage: ((page: RamPage) => void) | undefined;
  readonly onPlace: OnRamPlace | undefined;
}

export function newRamState(
  pageSize: number,
  capabilities: readonly string[],
  postcopyPageSizes: bigint,
  { onPage, onPlace }: { readonly onPage?: RamState["onPage"]; readonly onPlace?: RamState["onPlace"] },
): RamState {
  return {
    pageSize,
    totalBytes: 0,
    blocks: [],
    byName: new Map(),
    current: undefined,
    filledPages: 0,
    multifdFlushes: 0,
    mappedRam: capabilities.includes("mapped-ram"),
    ignoreShared: capabilities.includes("x-ignore-shared"),
    postcopyPageSizes,
    onPage,
    onPlace,
  };
}

/** The summary of it. */
export function summarize(state: RamState): Ram {
  const sum = (key: "pages" | "zeroPages" | "xbzrlePages" | "compressedPages" | "bytes") =>
    state.blocks.reduce((total, block) => total + block[key], 0);
  return {
    pageSize: state.pageSize,
    totalBytes: state.totalBytes,
    blocks: state.blocks,
    pages: sum("pages"),
    zeroPages: sum("zeroPages"),
    xbzrlePages: sum("xbzrlePages"),
    compressedPages: sum("compressedPages"),
    filledPages: state.filledPages,
    bytes: sum("bytes"),
    multifdFlushes: state.multifdFlushes,
    mappedRam: state.mappedRam,
    ignoreShared: state.ignoreShared,
  };
}
