// Passed-through devices: both modes, both ways to have them, one and several; interrupts before and after.

import { expect, expectInterrupts, sh, update } from "../case.mjs";
import { DEVICES } from "../devices.mjs";

const TABLE = "VFIO";
/** Every igb raises its ten vectors. */
const ALL = "03ff";
const addresses = (/** @type {readonly number[]} */ slots) => slots.map((slot) => `0000:0${slot}:00.0`);
const SETS = new Map([
  [1, [2]],
  [4, [1, 2, 3, 5]],
  [7, [1, 2, 3, 5, 6, 7, 8]],
]);

/** @type {import("../case.mjs").Case[]} */
export const vfioCases = [
  ...["group", "iommufd"].flatMap((backend) => [...SETS].map(([count, slots]) => both(backend, count, slots))),
  rollback(),
  tenTimes(),
  withoutKvm(),
];

/** One VM is updated by cpr-transfer, then by cpr-exec. @param {string} backend @param {number} count @param {readonly number[]} slots */
function both(backend, count, slots) {
  const devices = DEVICES.filter(({ address }) => addresses(slots).includes(address));
  const vectors = devices.reduce((sum, each) => sum + each.vectors, 0);
  return {
    name: `VFIO by ${backend}, ${count} device${count === 1 ? "" : "s"}: cpr-transfer, then cpr-exec`,
    table: TABLE,
    run: (/** @type {import("../host.mjs").Host} */ host) =>
      withVm(host, backend, slots, async (name) => {
        const inUse = async () => Number(await sh(host, "grep -c vfio-msix /proc/interrupts"));
        expect((await inUse()) === vectors, `${vectors} vectors in use`);
        const row = { backend, devices: count, vectors };
        const counted = await sh(
          host,
          `/cprkit/bin/cprkit fds --pid $(cat /run/vms/${name}.pid) 2>/dev/null | tail -n 1`,
        );
        const about = /CPR carries (\d+)/.exec(counted)?.[1] ?? "?";
        const transfer = await update(host, `--qmp /run/vms/${name}.sock --qemu /qemu/11.1 --mode cpr-transfer`);
        expect(transfer.pid !== transfer.sourcePid, "a new process");
        const first = await expectInterrupts(host, `/run/vms/${name}.serial`, ALL);
        expect((await inUse()) === vectors, `${vectors} vectors in use after cpr-transfer`);
        const exec = await update(host, `--qmp /run/vms/${name}.sock --qemu /qemu/11.1 --mode cpr-exec`);
        expect(exec.pid === transfer.pid, "the same process");
        const second = await expectInterrupts(host, `/run/vms/${name}.serial`, ALL);
        expect((await inUse()) === vectors, `${vectors} vectors in use after cpr-exec`);
        return {
          ...row,
          "fds by `cprkit fds`": about,
          "fds carried, transfer": transfer.fds.length,
          "fds carried, exec": exec.fds?.length ?? "?",
          "interrupts in 3 s after": `${first.interrupts} / ${second.interrupts}`,
        };
      }),
  };
}

function rollback() {
  return {
    name: "VFIO, rolled back just before the guest stops",
    table: TABLE,
    run: (/** @type {import("../host.mjs").Host} */ host) =>
      withVm(host, "group", [2], async (name) => {
        const failed = await update(host, `--qmp /run/vms/${name}.sock --qemu /qemu/11.1 --before-pause false`).then(
          () => "it was updated",
          (error) => String(error),
        );
        expect(failed.includes("rolled back"), `a rollback, found ${failed.slice(0, 600)}`);
        const { interrupts } = await expectInterrupts(host, `/run/vms/${name}.serial`, ALL);
        return { backend: "group", devices: 1, vectors: 10, "interrupts in 3 s after": interrupts };
      }),
  };
}

function tenTimes() {
  return {
    name: "VFIO, ten updates in a row",
    table: TABLE,
    run: (/** @type {import("../host.mjs").Host} */ host) =>
      withVm(host, "group", [2], async (name) => {
        const fds = [];
        for (let round = 0; round < 10; round++) {
          const report = await update(host, `--qmp /run/vms/${name}.sock --qemu /qemu/11.1`);
          fds.push(report.fds.length);
          await expectInterrupts(host, `/run/vms/${name}.serial`, ALL);
        }
        const { interrupts } = await expectInterrupts(host, `/run/vms/${name}.serial`, ALL);
        return {
          ...{ backend: "group", devices: 1, vectors: 10 },
          "fds carried, transfer": `${Math.min(...fds)} to ${Math.max(...fds)}`,
          "interrupts in 3 s after": interrupts,
        };
      }),
  };
}

function withoutKvm() {
  return {
    name: "VFIO without KVM is refused",
    table: TABLE,
    run: (/** @type {import("../host.mjs").Host} */ host) =>
      withVm(
        host,
        "group",
        [2],
        async (name) => {
          const text = await sh(
            host,
            `/cprkit/bin/cprkit preflight --qmp /run/vms/${name}.sock --qemu /qemu/11.1; true`,
          );
          expect(/cpr-transfer: +in the way: qemu-crash/.test(text), `qemu-crash, found ${text}`);
          await expectInterrupts(host, `/run/vms/${name}.serial`, ALL);
          return { backend: "group", devices: 1, vectors: 10, "fds by `cprkit fds`": "refused: qemu-crash" };
        },
        "tcg",
      ),
  };
}

/**
 * @template T
 * @param {import("../host.mjs").Host} host
 * @param {string} backend
 * @param {readonly number[]} slots
 * @param {(name: string) => Promise<T>} act
 * @param {string} [accel]
 * @returns {Promise<T>}
 */
async function withVm(host, backend, slots, act, accel = "kvm") {
  const devices = addresses(slots).join(" ");
  const name = "v";
  await sh(host, `/lab/vfio-bind.sh ${devices}; /lab/vfio-vm.sh ${name} ${backend} ${accel} ${devices}`);
  try {
    // Until the guest has turned all vectors on, and counts.
    await sh(
      host,
      `for i in $(seq 240); do [ $(grep -cE '^[0-9a-f]{8} ' /run/vms/${name}.serial) -ge 5 ] && exit; sleep 0.5; done; exit 1`,
    );
    await expectInterrupts(host, `/run/vms/${name}.serial`, ALL);
    return await act(name);
  } finally {
    const end = `pids=$(pgrep -f 'qemu-system.*/run/vms/${name}[.]img'); kill $pids; for i in $(seq 50); do kill -0 $pids 2>/dev/null || exit 0; sleep 0.2; done; kill -9 $pids; true`;
    await sh(host, `bash -c "${end.replaceAll("$", "\\$")}"`);
  }
}
