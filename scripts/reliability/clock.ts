// The clock of the wall jumps, for cprkit and the QEMUs of one VM alone: a small library before their C library. A
// time namespace can't do it: it moves only the clocks that never jump (time_namespaces(7)).

import { spawnSync } from "node:child_process";
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Clock {
  /** For every process that is to have this clock. */
  readonly env: Readonly<Record<string, string>>;
  /** Puts the clock so many seconds off the machine's, from now on. */
  jumpTo(seconds: number): void;
}

/** A clock whose files are in `folder`; undefined without a C compiler. */
export function createClock(folder: string): Clock | undefined {
  const library = join(folder, "clock.so");
  const source = fileURLToPath(new URL("clock.c", import.meta.url));
  const { status } = spawnSync("cc", ["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (status !== 0) return undefined;
  const file = join(folder, "clock");
  writeFileSync(file, Buffer.alloc(8));
  return {
    env: { LD_PRELOAD: library, CPRKIT_CLOCK: file },
    jumpTo: (seconds) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt(seconds));
      const fd = openSync(file, "r+");
      // In one write: a reader never sees half of it.
      writeSync(fd, bytes, 0, 8, 0);
      closeSync(fd);
    },
  };
}
