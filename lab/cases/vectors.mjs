// The question of the RFC, asked of real VFIO vectors: what do N look-ups at the destination cost, and what would a list?

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, sh, update } from "../case.mjs";
import { DEVICES } from "../devices.mjs";

const TABLE = "Look-ups";

/** How many vectors, of which slots, and how many each device turns on at most. @type {readonly (readonly [number, readonly number[], number])[]} */
const SETS = [
  [144, [1, 2, 3, 5], 2048],
  [500, [1, 2, 3, 4], 420],
  [2000, [4], 2000],
];

/** @type {import("../case.mjs").Case[]} */
export const vectorCases = SETS.map(([vectors, slots, limit]) => ({
  name: `look-ups, ${vectors} vectors`,
  table: TABLE,
  run: (host) => measure(host, vectors, slots, limit),
}));

/**
 * QEMU's own trace of the new QEMU: from the first look-up to the last one. And the look-ups alone, of the very names that
 * were carried, in the C programs that cprkit is measured against, on the same emulated processor.
 *
 * @param {import("../host.mjs").Host} host
 * @param {number} vectors
 * @param {readonly number[]} slots
 * @param {number} limit
 */
async function measure(host, vectors, slots, limit) {
  // About 200 vectors of the x86 are left for devices on each processor.
  const room = 190 * Number(await sh(host, "nproc"));
  if (vectors > room) return { vectors, note: `needs more cores: about ${room} vectors fit here` };
  const addresses = slots.map((slot) => `0000:0${slot}:00.0`);
  expect(
    addresses.every((address) => DEVICES.some((device) => device.address === address)),
    "devices that are there",
  );
  const trace = "-trace cpr_find_fd -trace cpr_state_load -msg timestamp=on";
  const sock = "/run/vms/n.sock";
  await sh(
    host,
    `/lab/vfio-bind.sh ${addresses.join(" ")}; LIMIT=${limit} EXTRA="${trace}" /lab/vfio-vm.sh n group kvm ${addresses.join(" ")}`,
  );
  try {
    await sh(
      host,
      `for i in $(seq 1200); do [ $(grep -c vfio-msix /proc/interrupts) = ${vectors} ] && exit; sleep 0.5; done; grep -c vfio-msix /proc/interrupts; tail -n 3 /run/vms/n.serial /run/vms/n.log; exit 1`,
      700,
    );
    const report = await update(host, `--qmp ${sock} --qemu /qemu/11.1`);
    const times = await sh(host, `grep -aoE '^[0-9T:.-]+Z cpr_find_fd' ${report.log} | cut -d' ' -f1`);
    const all = times.split("\n").map((text) => Date.parse(text));
    const [stop, resume] = [report.stopUs / 1000, report.resumeUs / 1000];
    const inPause = all.filter((time) => time >= stop && time <= resume);
    const peers = await lookUps(host, report.fds);
    return {
      ...{ vectors, "fds carried (N)": report.fds.length, "look-ups in QEMU": all.length },
      "of them in the pause": inPause.length,
      "first to last of these, traced, ms": inPause.length === 0 ? "" : Math.max(...inPause) - Math.min(...inPause),
      "N look-ups, hash, ms": peers.hash,
      "N look-ups, list, ms": peers.list,
      "pause, ms": report.downtimeMs.toFixed(0),
    };
  } finally {
    const end =
      "pids=$(pgrep -f 'qemu-system.*/run/vms/n[.]img'); kill $pids; for i in $(seq 100); do kill -0 $pids || exit 0; sleep 0.2; done; kill -9 $pids; true";
    await sh(host, `(${end}) 2>/dev/null`);
  }
}

/**
 * @param {import("../host.mjs").Host} host
 * @param {readonly { name: string, id: number }[]} fds
 */
async function lookUps(host, fds) {
  const text = fds.map(({ name, id }) => `${id}\t${name}\n`).join("");
  writeFileSync(join(host.share, "names"), text);
  const libraries = "$(dirname $(readlink -f /qemu/11.1))/root/usr/lib/x86_64-linux-gnu";
  const out = await sh(
    host,
    `[ -x /share/lookup ] || exit 0; for c in hash.find list.find; do LD_LIBRARY_PATH=${libraries} /share/lookup -f /share/names -r 5 -c $c; done`,
    600,
  );
  const times = new Map(
    out
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => {
        const { case: name, min_ns: ns, passes } = JSON.parse(line);
        return [name, (ns / passes / 1e6).toFixed(2)];
      }),
  );
  return { hash: times.get("hash.find") ?? "not built", list: times.get("list.find") ?? "not built" };
}
