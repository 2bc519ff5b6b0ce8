// `npm run package` (the single file), `npm run package:executable`, `npm run package:deb`: into package/, after a build.

import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { debianArch, writeDeb } from "./deb.mjs";
import { writeExecutable } from "./executable.mjs";
import { folder, isCurrent, root, writeSingle } from "./single.mjs";

const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const wanted = process.argv.slice(2);
// For tests: quick to make, and larger.
const compression = wanted.includes("--quick") ? "gz" : "xz";

const single = join(folder, "cprkit.cjs");
mkdirSync(folder, { recursive: true });
if (!isCurrent(single)) await writeSingle(single, { musl: true });
report(single);
if (wanted.includes("executable") || wanted.includes("deb")) await executable();
if (wanted.includes("deb")) debs();

async function executable() {
  const file = executableFile();
  // Its Node knows no musl.
  if (!isCurrent(file)) {
    const script = join(folder, "cprkit-glibc.cjs");
    await writeSingle(script, { musl: false });
    await writeExecutable(script, file);
  }
  report(file);
}

function executableFile() {
  return join(folder, `cprkit-linux-${process.arch}`);
}

function debs() {
  const whole = join(folder, `cprkit_${version}_${debianArch}.deb`);
  const libraries = "libc6 (>= 2.28), libstdc++6 (>= 8), libgcc-s1 | libgcc1";
  writeDeb(whole, { name: "cprkit", program: executableFile(), depends: libraries, bundlesNode: true }, compression);
  report(whole);
  const small = join(folder, `cprkit-node_${version}_${debianArch}.deb`);
  const of = { name: "cprkit-node", program: single, depends: "nodejs (>= 20.19)", bundlesNode: false };
  writeDeb(small, of, compression);
  report(small);
}

function report(file) {
  process.stdout.write(`${file}: ${(statSync(file).size / 1e6).toFixed(1)} MB\n`);
}
