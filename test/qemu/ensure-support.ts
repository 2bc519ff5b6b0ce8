// For the tests of `ensure`: QEMUs behind wrapper scripts that count how often they are started.
import { chmodSync, copyFileSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { privateDir } from "../support/vm.ts";

/** A program that starts QEMU, and a line for each start. */
export interface Counted {
  readonly program: string;
  /** Starts that were not only questions. */
  starts(): number;
  /** Starts in the place of a running QEMU, by cpr-exec. */
  replaced(): number;
}

/** Starts QEMU by exec and notes each start. */
export function counted(qemu: string): Counted {
  const dir = privateDir();
  const [program, log] = [join(dir, "qemu-counted"), join(dir, "starts")] as const;
  writeFileSync(log, "");
  writeFileSync(program, `#!/bin/sh\necho "$*" >>'${log}'\nexec '${qemu}' "$@"\n`, { mode: 0o755 });
  const lines = () => readFileSync(log, "utf8").split("\n").filter(Boolean);
  return {
    program,
    starts: () => lines().filter((line) => !line.includes("-machine none")).length,
    replaced: () => lines().filter((line) => line.includes("-incoming file:")).length,
  };
}

/** The same QEMU in another file; `rebuilt`: of the same version, but another build. */
export function copyOf(qemu: string, { rebuilt }: { readonly rebuilt: boolean }): string {
  const dir = privateDir();
  const root = join(dirname(realpathSync(qemu)), "root");
  const [program, binary] = [join(dir, "qemu-wrapper"), join(dir, "qemu-system-x86_64")] as const;
  copyFileSync(join(root, "usr/bin/qemu-system-x86_64"), binary);
  chmodSync(binary, 0o755);
  if (rebuilt) changeBuildId(binary);
  const script = readFileSync(realpathSync(qemu), "utf8")
    .replace(/^root=.*$/m, `root='${root}'`)
    .replace('exec "$root/usr/bin/qemu-system-x86_64"', `exec '${binary}'`);
  writeFileSync(program, script, { mode: 0o755 });
  return program;
}

/** As the linker gives another one to another build. */
function changeBuildId(binary: string): void {
  const bytes = readFileSync(binary);
  const note = bytes.indexOf(Buffer.from("\x14\0\0\0\x03\0\0\0GNU\0", "latin1"));
  if (note < 0) throw new Error(`${binary} has no build id`);
  const at = note + 12;
  bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  writeFileSync(binary, bytes);
}
