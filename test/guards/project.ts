// A small project under the rules of this one: its own files, our configuration. What breaks a rule is put there.

import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where this repository is. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

/** The folders of src/, each before those that may import it. */
export const folders = ["vmstate", "migration", "cpr", "linux", "files", "web", "channel", "qemu", "cli"];

export interface Project {
  readonly folder: string;
  write(path: string, text: string): void;
  /** Runs a program of node_modules, such as "typescript/bin/tsc", in the project. */
  run(program: string, ...args: string[]): Promise<{ readonly code: number; readonly output: string }>;
  remove(): void;
}

/** Makes a project in a folder of its own, with these files and folders of ours. */
export function makeProject(ours: readonly string[]): Project {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-guard-"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  for (const path of ours) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    cpSync(join(root, path), join(folder, path), { recursive: true });
  }
  return {
    folder,
    write: (path, text) => {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    },
    run: (program, ...args) =>
      new Promise((resolve) => {
        const command = [join(root, "node_modules", program), ...args];
        execFile(process.execPath, command, { cwd: folder, timeout: 60_000 }, (error, stdout, stderr) => {
          // A program that was killed has no code.
          const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
          resolve({ code, output: stdout + stderr });
        });
      }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
