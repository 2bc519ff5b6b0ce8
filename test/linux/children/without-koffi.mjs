// The built code in a folder without node_modules.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const directory = mkdtempSync(join(tmpdir(), "cprkit-without-koffi-"));
try {
  const dist = fileURLToPath(new URL("../../../dist", import.meta.url));
  for (const folder of ["linux", "vmstate"]) cpSync(join(dist, folder), join(directory, folder), { recursive: true });
  writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
  const { createMemfd } = await import(pathToFileURL(join(directory, "linux/index.js")).href);
  try {
    createMemfd("x");
  } catch (error) {
    const { code, message, cause } = error;
    process.stdout.write(JSON.stringify({ code, message, hasCause: cause instanceof Error }));
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
