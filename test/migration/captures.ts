// Recorded migration streams: those without RAM pages stand in test/fixtures, all of them in the shared folder.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { sharedDir } from "../support/shared.ts";

export interface MigrationCapture {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Where the stream begins. */
  readonly offset: number;
  /** What analyze-migration.py prints; undefined where it fails. */
  readonly state: Readonly<Record<string, unknown>> | undefined;
}

const fixtures = fileURLToPath(new URL("../fixtures/migration", import.meta.url));

function capturesDir(): string {
  const shared = sharedDir();
  if (shared !== undefined) return join(shared, "captures", "migration");
  console.warn("the shared captures are missing: only the streams in test/fixtures/migration, without RAM, are tested");
  return fixtures;
}

export const hasAllCaptures = sharedDir() !== undefined;

/** Every recorded migration stream that is there, in order of its name. */
export function listMigrationCaptures(): MigrationCapture[] {
  const dir = capturesDir();
  return readdirSync(dir)
    .filter((file) => file.endsWith(".mig"))
    .sort()
    .map((file) => {
      const name = file.slice(0, -".mig".length);
      return {
        name,
        bytes: new Uint8Array(readFileSync(join(dir, file))),
        offset: name === "microvm-offset-10.0" ? 0x1000 : 0,
        state: readState(join(dir, `${name}.state.json`)),
      };
    });
}

function readState(path: string): Record<string, unknown> | undefined {
  if (existsSync(path)) return JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  if (!existsSync(`${path}.gz`)) return undefined;
  return JSON.parse(gunzipSync(readFileSync(`${path}.gz`)).toString("utf8")) as Record<string, unknown>;
}

/** `bytes` as a pipe gives them, from a reader that uses one buffer for all chunks. */
export async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array, void, void> {
  const chunk = new Uint8Array(size);
  for (let at = 0; at < bytes.length; at += size) {
    const part = bytes.subarray(at, at + size);
    chunk.set(part);
    yield chunk.subarray(0, part.length);
    chunk.fill(0xee);
  }
}
