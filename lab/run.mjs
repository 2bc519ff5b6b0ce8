// `npm run lab`: Linux with systemd, an IOMMU, KVM and PCI devices to pass through, all emulated, and in it real QEMUs
// and cprkit. Builds what is missing (each part is kept in the cache), boots, runs the cases, tidies up.

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { rerunUnderLock } from "../scripts/qemu/lock.mjs";
import { unitCases } from "./cases/units.mjs";
import { vectorCases } from "./cases/vectors.mjs";
import { vfioCases } from "./cases/vfio.mjs";
import { DEVICE_WORDS } from "./devices.mjs";
import { command, endHost, runningHost, startHost } from "./host.mjs";
import { makeImage } from "./image.mjs";
import { makeKernel } from "./kernel.mjs";
import { writeTables } from "./tables.mjs";

const ROOT = resolve(import.meta.dirname, "..");
const HELP = `Usage: npm run lab -- [options] [command in the emulated host]

  --only TEXT   only the cases whose name holds this
  --cores N     of the emulated host (default 2; 11 for 2,000 interrupt vectors)
  --keep        leave the host running, for the next run or a command
  --stop        end a host that was left running
  --write       write the results into docs/lab.md
  --list        only name the cases
  --help        this text

CPRKIT_LAB_KERNEL names a kernel that is there already, in place of building it (see lab/kernel.config).

Example: npm run lab -- --only iommufd
`;

process.exitCode = await main();

async function main() {
  const names = ["keep", "stop", "write", "list", "help"];
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: "string" },
      cores: { type: "string" },
      ...Object.fromEntries(names.map((name) => [name, { type: /** @type {const} */ ("boolean") }])),
    },
  });
  const { only = "" } = values;
  const cores = Number(values.cores ?? 2);
  const cases = [...vfioCases, ...unitCases, ...vectorCases].filter(({ name }) => name.includes(only));
  if (values.help) process.stdout.write(HELP);
  if (values.list) for (const { name } of cases) process.stdout.write(`${name}\n`);
  if (values.help || values.list) return 0;
  const cache = resolve(process.env.CPRKIT_CACHE || join(ROOT, ".cache"));
  const work = join(cache, "lab");
  mkdirSync(work, { recursive: true });
  const held = rerunUnderLock(join(work, ".lock"), say);
  if (held !== undefined) return held;
  if (values.stop) {
    const host = runningHost(work);
    if (host !== undefined) endHost(work, host);
    return 0;
  }
  const host = runningHost(work) ?? (await boot(cache, work, cores));
  try {
    await push(work, host);
    if (positionals.length > 0) {
      const { code, out } = await command(host, positionals.join(" "), 1800);
      process.stdout.write(out);
      return code;
    }
    return await runCases(cases, work, host, values.write === true);
  } finally {
    if (values.keep !== true) endHost(work, host);
  }
}

/** @param {string} cache @param {string} work @param {number} cores */
async function boot(cache, work, cores) {
  if (
    spawnSync(process.execPath, ["scripts/qemu/fetch.mjs", "10.0", "11.1"], { cwd: ROOT, stdio: "inherit" }).status !==
    0
  ) {
    throw new Error("QEMU could not be fetched");
  }
  const kernel = await makeKernel(cache, say);
  const image = await makeImage(cache, say);
  say(`lab: booting, ${cores} cores`);
  const qemu = join(cache, "qemu/11.1/qemu-system-x86_64");
  return startHost(work, { qemu, kernel, image, share: join(work, "share"), cores, devices: DEVICE_WORDS });
}

/** Takes cprkit as it is now, and what the cases need, into the host. @param {string} work @param {import("./host.mjs").Host} host */
async function push(work, host) {
  const built = spawnSync(process.execPath, ["scripts/run.mjs", "build"], { cwd: ROOT, stdio: "inherit" });
  if (built.status !== 0) throw new Error("cprkit can't be built");
  const list = spawnSync("npm", ["ls", "--omit=dev", "--all", "--parseable"], { cwd: ROOT, encoding: "utf8" }).stdout;
  const packages = list.split("\n").flatMap((path) => (path.startsWith(`${ROOT}/`) ? path.slice(ROOT.length + 1) : []));
  const share = join(work, "share");
  mkdirSync(share, { recursive: true });
  const words = ["-cf", join(share, "cprkit.tar"), "--exclude=*.d.ts", "bin", "dist", "package.json", ...packages];
  if (spawnSync("tar", words, { cwd: ROOT, stdio: "inherit" }).status !== 0) throw new Error("cprkit can't be packed");
  rmSync(join(share, "inside"), { recursive: true, force: true });
  cpSync(join(import.meta.dirname, "inside"), join(share, "inside"), { recursive: true });
  // Without a compiler the look-ups have nothing to be compared with.
  spawnSync(process.execPath, ["scripts/bench/peers.mjs"], { cwd: ROOT, stdio: "ignore" });
  const lookUp = join(ROOT, ".cache/peers/lookup");
  if (existsSync(lookUp)) cpSync(lookUp, join(share, "lookup"));
  const unpack = `rm -rf /cprkit && mkdir /cprkit && tar -C /cprkit -xf /share/cprkit.tar && cp -r /share/inside/* /lab/ && cd /lab &&
    as --32 guest/vectors.S -o vectors.o && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -e _start vectors.o -o vectors.img &&
    truncate -s 512K vectors.img && /cprkit/bin/cprkit --version`;
  const { code, out } = await command(host, unpack, 600);
  if (code !== 0) throw new Error(`the host could not be made ready: ${out}`);
}

/**
 * @param {readonly import("./case.mjs").Case[]} cases
 * @param {string} work
 * @param {import("./host.mjs").Host} host
 * @param {boolean} isWritten
 */
async function runCases(cases, work, host, isWritten) {
  const about = await command(
    host,
    "uname -r; systemctl --version | head -n 1; nproc; systemctl is-system-running --wait",
  );
  const [kernel = "", systemd = "", cores = "", state = ""] = about.out.trim().split("\n");
  say(`lab: Linux ${kernel}, ${systemd}, ${cores} cores, ${state}`);
  const file = join(work, `results-${cores}.json`);
  const measured = { date: new Date().toISOString().slice(0, 10), kernel, systemd, cores: Number(cores) };
  // A part of the cases must not take the others' results away.
  const before = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).rows : [];
  const rows = [];
  let failed = 0;
  for (const { name, table, run } of cases) {
    const start = Date.now();
    const took = () => `${Math.round((Date.now() - start) / 1000)} s`;
    try {
      const row = await run(host);
      rows.push({ name, table, ok: true, row });
      say(`ok    ${name} (${took()})  ${Object.values(row).join("; ")}`);
    } catch (error) {
      failed += 1;
      const text = error instanceof Error ? error.message : String(error);
      rows.push({ name, table, ok: false, row: {}, error: text });
      say(`FAIL  ${name} (${took()})\n${text.replace(/^/gm, "      ")}`);
    }
    const kept = before.filter((/** @type {{ name: string }} */ old) => !rows.some((row) => row.name === old.name));
    writeFileSync(file, `${JSON.stringify({ ...measured, rows: [...kept, ...rows] }, null, 1)}\n`);
  }
  if (isWritten) writeTables(join(ROOT, "docs/lab.md"), work);
  say(`lab: ${rows.length - failed} of ${rows.length} cases; ${file}`);
  return failed === 0 ? 0 : 1;
}

/** @param {string} line */
function say(line) {
  process.stderr.write(`${line}\n`);
}
