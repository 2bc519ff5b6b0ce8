// Looks at a file that may not be there, or may not be looked at.

import { type BigIntStats, statSync } from "node:fs";

/**
 * What stat(2) says of `path`; undefined for what is not there or may not be looked at: another user's folder, and for
 * root also another user's FUSE mount.
 */
export function statFile(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
