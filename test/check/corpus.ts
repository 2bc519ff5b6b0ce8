// Makes the corpus: every machine saved, every pair really loaded.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Machine, Pair } from "./pairs.ts";
import { type Load, loadMachine, type QemuOf, saveMachine } from "./real.ts";

/** A pair with what QEMU did. `source` and `destination` name streams. */
export interface Measured extends Load {
  readonly kind: string;
  readonly name: string;
  readonly source: string;
  readonly destination: string;
  /** Versions of the two QEMUs. */
  readonly qemus: readonly [source: string, destination: string];
  /** Why it could not be measured. */
  readonly problem?: string;
}

/** Saves and loads all pairs; streams go to `folder`, named by their machine. Two at a time. */
export async function measureAll(pairs: readonly Pair[], qemuOf: QemuOf, folder: string): Promise<Measured[]> {
  mkdirSync(folder, { recursive: true });
  const saves = new Map<string, Promise<void>>();
  const results: Measured[] = [];
  const todo = [...pairs.entries()];
  const worker = async () => {
    const dir = mkdtempSync(join(tmpdir(), "cprkit-check-"));
    try {
      for (let next = todo.shift(); next !== undefined; next = todo.shift()) {
        const [at, pair] = next;
        results[at] = await measure(pair, qemuOf, folder, dir, saves);
      }
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  };
  await Promise.all([worker(), worker()]);
  return results;
}

async function measure(
  pair: Pair,
  qemuOf: QemuOf,
  folder: string,
  dir: string,
  saves: Map<string, Promise<void>>,
): Promise<Measured> {
  const { kind, name, edit } = pair;
  const destination = keyOf(pair.destination);
  const source = edit === undefined ? keyOf(pair.source) : `${keyOf(pair.source)}-${edit}`;
  const qemus = [pair.source.qemu, pair.destination.qemu] as const;
  const fields = { kind, name, source, destination, qemus };
  const save = async (machine: Machine) => {
    const key = keyOf(machine);
    const file = join(folder, `${key}.mig`);
    let done = saves.get(key);
    if (done === undefined) {
      const part = join(dir, "part.mig");
      done = existsSync(file)
        ? Promise.resolve()
        : saveMachine(machine, qemuOf, dir, part).then(() => renameSync(part, file));
      saves.set(key, done);
    }
    await done;
    return file;
  };
  try {
    let from = await save(pair.source);
    await save(pair.destination);
    if (edit !== undefined) {
      const changed = join(folder, `${source}.mig`);
      writeFileSync(changed, edited(readFileSync(from)));
      from = changed;
    }
    return { ...fields, ...(await loadMachine(pair.destination, qemuOf, dir, from)) };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return { ...fields, loads: false, error: "", problem };
  }
}

/** Another run state, of the same length. */
function edited(stream: Buffer): Buffer {
  const at = stream.indexOf("paused\0", stream.indexOf("globalstate"));
  if (at < 0) throw new Error("no run state in the stream");
  stream.write("pauzed", at, "latin1");
  return stream;
}

function keyOf(machine: Machine): string {
  return createHash("sha256").update(JSON.stringify(machine)).digest("hex").slice(0, 12);
}
