// Where a migration stream's bytes come from: this folder is pure, so it knows no files.

/** A file, or anything else that can be read at any place. `openSource` of `cprkit/files` opens one. */
export interface ByteSource {
  /** Length in bytes. */
  readonly size: number;
  /**
   * Reads bytes from `offset` on into `target` and returns how many; 0 only at the end. What it throws, or rejects with,
   * ends the reading. A source that answers with a number instead of a promise is read without a detour through the event
   * loop.
   */
  read(offset: number, target: Uint8Array): number | Promise<number>;
}

/**
 * All that a migration stream can be read from: bytes in memory, a file, or chunks as a pipe gives them. A chunk need
 * only be valid until the next is asked for.
 */
export type MigrationSource = Uint8Array | ByteSource | AsyncIterable<Uint8Array>;

/** True for a source that can be read at any place. */
export function isByteSource(source: MigrationSource): source is ByteSource {
  return "size" in source && "read" in source;
}

/** Bytes in memory as a {@link ByteSource}, not copied. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: (offset, target) => {
      const part = bytes.subarray(offset, offset + target.length);
      target.set(part);
      return part.length;
    },
  };
}
