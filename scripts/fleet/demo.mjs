// `npm run fleet:demo`: a fleet on this machine. PostgreSQL, a coordinator, three hosts with four VMs each, of which one
// can't be updated; a rollout of QEMU 11.1 by waves, and its page. All of it is in one folder, and ends with it.

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startPostgres, whyNoPostgres } from "./postgres.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const cache = resolve(process.env.CPRKIT_CACHE || join(root, ".cache"));
const qemuOf = (version) => join(cache, "qemu", version, "qemu-system-x86_64");
const programOf = (version) => join(cache, "qemu", version, "root/usr/bin/qemu-system-x86_64");
const hosts = ["h1", "h2", "h3"];
const each = 4;
/** The VM whose new QEMU does not start. */
const bad = { host: "h3", vm: "v4" };

run([process.execPath, join(root, "scripts/run.mjs"), "build"]);
run([process.execPath, join(root, "scripts/qemu/fetch.mjs"), "10.0", "11.1", "postgres"]);
const why = whyNoPostgres();
if (why !== undefined) fail(why);

const start = performance.now();
const folder = mkdtempSync(join(tmpdir(), "cprkit-fleet-demo-"));
const children = [];
let postgres;
try {
  await main();
} finally {
  for (const child of children) child.kill("SIGTERM");
  await Promise.all(children.map(ended));
  for (const pid of qemus()) process.kill(pid, "SIGKILL");
  await postgres?.stop();
  const kept = resolve("fleet-demo.html");
  say(`the page of the rollout: ${kept}`);
  rmSync(folder, { recursive: true, force: true });
}

async function main() {
  say("PostgreSQL, three hosts, four VMs each with QEMU 10.0");
  postgres = await startPostgres(join(folder, "db"));
  const owner = ["--database", postgres.url()];
  const ops = ["--database", postgres.url("ops")];
  cprkit(["migrate", ...owner, "--operator", "ops"]);
  for (const [at, name] of hosts.entries()) cprkit(["host", "add", name, "--rack", `r${at + 1}`, ...owner]);

  // A new QEMU that does not start for one of the guests.
  const wrapper = join(folder, "qemu-11.1");
  const test = `case "$*" in *guest=${bad.host}-${bad.vm}*) echo "qemu: this host has no such device" >&2; exit 1;; esac`;
  writeFileSync(wrapper, `#!/bin/sh\n${test}\nexec '${qemuOf("11.1")}' "$@"\n`, { mode: 0o755 });
  const namespace = networkNamespace();
  if (namespace.length === 0) say("no network namespace can be made here: the hosts share this machine's");
  for (const host of hosts) {
    const home = join(folder, host);
    mkdirSync(join(home, "vms"), { recursive: true, mode: 0o700 });
    const releases = {
      "10.0": { qemu: qemuOf("10.0"), program: programOf("10.0") },
      11.1: { qemu: wrapper, program: programOf("11.1") },
    };
    writeFileSync(join(home, "releases.yaml"), JSON.stringify({ releases }), { mode: 0o600 });
    const config = {
      ...{ database: { url: postgres.url(`host-${host}`) }, pollMs: 200 },
      host: {
        ...{ name: host, stateDir: join(home, "state"), releases: join(home, "releases.yaml") },
        qmp: join(home, "vms/{vm}/qmp.sock"),
      },
    };
    writeFileSync(join(home, "fleet.yaml"), JSON.stringify(config), { mode: 0o600 });
    const [name = "", ...words] = [
      ...[...namespace, process.execPath, join(root, "scripts/fleet/demo-host.mjs")],
      ...[folder, host, qemuOf("10.0"), String(each)],
    ];
    children.push(spawn(name, words, { stdio: ["ignore", "ignore", "inherit"] }));
  }
  const coordinator = [join(root, "bin/cprkit"), "fleet", "coordinator", ...ops];
  children.push(spawn(process.execPath, coordinator, { stdio: ["ignore", "ignore", "inherit"] }));
  await untilCounting();

  const policy = join(folder, "policy.yaml");
  writeFileSync(policy, "waves: [1, 50%]\nbudget: 1\n");
  say("cprkit fleet plan --release 11.1 --policy policy.yaml");
  cprkit(["plan", ...ops, "--release", "11.1", "--id", "demo", "--policy", policy]);
  say("cprkit fleet start demo; cprkit fleet status demo --watch");
  cprkit(["start", ...ops, "demo"]);
  cprkit(["status", ...ops, "demo", "--watch"], [0, 1]);
  say("cprkit fleet report demo");
  cprkit(["report", ...ops, "demo"], [1]);
  cprkit(["report", ...ops, "demo", "--html", "fleet-demo.html"], [1]);
  await sleep(500);
  const missing = vms().filter((vm) => !isWhole(numbersOf(vm)));
  say(
    `${vms().length} guests have counted all the while, numbers are missing in ${missing.length}; ${qemus().length} QEMUs run`,
  );
  say(`${((performance.now() - start) / 1000).toFixed(0)} s in all`);
  if (missing.length > 0 || qemus().length !== vms().length) process.exitCode = 1;
}

function vms() {
  return hosts.flatMap((host) => Array.from({ length: each }, (_, at) => join(folder, host, "vms", `v${at + 1}`)));
}

async function untilCounting() {
  for (const vm of vms()) {
    for (let attempt = 0; numbersOf(vm).length < 5; attempt++) {
      if (attempt > 600) fail(`the guest in ${vm} does not count`);
      await sleep(100);
    }
  }
}

/** What a guest has counted; the last line may be half there. */
function numbersOf(vm) {
  try {
    return readFileSync(join(vm, "serial"), "utf8")
      .split("\n")
      .slice(0, -1)
      .flatMap((line) => /^T?\s*([0-9a-f]+)/i.exec(line)?.[1] ?? []);
  } catch {
    return [];
  }
}

function isWhole(numbers) {
  const values = numbers.map(Number);
  return values.length > 5 && values.every((value, at) => at === 0 || value === (values[at - 1] ?? 0) + 1);
}

/** Those of this demonstration: their folder is in their command line. */
function qemus() {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, "utf8");
      return words.includes("qemu-system") && words.includes(`${folder}/`) && words.includes("-name")
        ? [Number(name)]
        : [];
    } catch {
      return [];
    }
  });
}

function networkNamespace() {
  const words = process.geteuid?.() === 0 ? ["unshare", "--net"] : ["unshare", "--user", "--map-root-user", "--net"];
  return spawnSync(words[0] ?? "", [...words.slice(1), "true"], { stdio: "ignore" }).status === 0 ? words : [];
}

function cprkit(words, allowed = [0]) {
  const { status } = spawnSync(process.execPath, [join(root, "bin/cprkit"), "fleet", ...words], { stdio: "inherit" });
  if (!allowed.includes(status ?? 4)) throw new Error(`cprkit fleet ${words[0]} ended with ${status}`);
}

function run([name = "", ...words]) {
  if (spawnSync(name, words, { stdio: ["ignore", "ignore", "inherit"] }).status !== 0) fail(`${words[0]} failed`);
}

function ended(child) {
  if (child.exitCode !== null || child.signalCode !== null) return undefined;
  return new Promise((done) => child.once("exit", done));
}

function say(text) {
  process.stdout.write(`\n== ${text}\n`);
}

function fail(text) {
  process.stderr.write(`${text}\n`);
  process.exit(4);
}
