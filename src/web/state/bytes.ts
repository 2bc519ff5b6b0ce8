// Bytes of an open file for the views: asked of the worker by the block, and kept while they may be looked at again.

import type { WorkerClient } from "./worker-client.ts";

const blockSize = 64 * 1024;
/** 16 MiB. */
const maxBlocks = 256;

/** Bytes at any place of a file. */
export interface FileBytes {
  readonly size: number;
  /** The byte at `offset`; undefined while it is not there. */
  at(offset: number): number | undefined;
  /** Asks for what is missing of these; `onLoad` is called when something came. */
  want(offset: number, length: number): void;
  /** Up to `length` bytes from `offset` on. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** The bytes of document `doc`. */
export function fileBytes(client: WorkerClient, doc: number, size: number, onLoad: () => void): FileBytes {
  const blocks = new Map<number, Uint8Array | "asked">();
  const load = async (index: number): Promise<void> => {
    blocks.set(index, "asked");
    try {
      blocks.set(index, await client.ask("bytes", { doc, offset: index * blockSize, length: blockSize }));
    } catch {
      // The file may have gone: an empty block shows nothing, and is not asked for again.
      blocks.set(index, new Uint8Array(0));
    }
    // The oldest goes.
    if (blocks.size > maxBlocks) blocks.delete(blocks.keys().next().value ?? index);
    onLoad();
  };
  return {
    size,
    at: (offset) => {
      const block = blocks.get(Math.floor(offset / blockSize));
      return block === undefined || block === "asked" ? undefined : block[offset % blockSize];
    },
    want: (offset, length) => {
      const last = Math.floor((Math.min(size, offset + length) - 1) / blockSize);
      for (let index = Math.max(0, Math.floor(offset / blockSize)); index <= last; index++) {
        if (!blocks.has(index)) void load(index);
      }
    },
    read: (offset, length) => client.ask("bytes", { doc, offset, length }),
  };
}

/** Bytes that are in memory. */
export function memoryBytes(bytes: Uint8Array): FileBytes {
  return {
    size: bytes.length,
    at: (offset) => bytes[offset],
    want: () => {},
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  };
}
