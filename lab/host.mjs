// The emulated host: boots, runs commands by its agent, ends. Its disk is never written: what changes is thrown away.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/**
 * @typedef {object} Host
 * @property {number} pid of the QEMU that emulates it
 * @property {string} folder its sockets and logs
 * @property {string} share a folder that is /share in it
 */

/**
 * @typedef {object} Boot
 * @property {string} qemu
 * @property {string} kernel
 * @property {string} image
 * @property {string} share a folder that is /share in it
 * @property {number} cores
 * @property {readonly string[]} devices words of QEMU's command line
 */

/**
 * Boots, and waits until commands can be run.
 *
 * @param {string} work where the host that runs is noted
 * @param {Boot} boot
 * @returns {Promise<Host>}
 */
export async function startHost(work, { qemu, kernel, image, share, cores, devices }) {
  mkdirSync(share, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), "cprkit-lab-"));
  const at = (/** @type {string} */ name) => join(folder, name);
  const args = [
    [
      "-name",
      "cprkit-lab",
      "-no-reboot",
      "-nodefaults",
      "-display",
      "none",
      "-machine",
      "q35",
      "-accel",
      "tcg,thread=multi",
    ],
    ["-cpu", "max", "-smp", String(cores), "-m", "6G"],
    ["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on", "-kernel", kernel],
    [
      "-append",
      "root=/dev/vda rw console=ttyS0 intel_iommu=on quiet no_timer_check panic=-1 systemd.show_status=0 audit=0 TERM=dumb",
    ],
    ["-chardev", `file,id=console,path=${at("console.log")}`, "-serial", "chardev:console"],
    ["-chardev", `socket,id=agent,path=${at("agent.sock")},server=on,wait=off`, "-serial", "chardev:agent"],
    ["-drive", `file=${image},format=raw,if=none,id=root,snapshot=on`, "-device", "virtio-blk-pci,drive=root,addr=02"],
    ["-device", "virtio-rng-pci,addr=03", "-fsdev", `local,id=share,path=${share},security_model=none`],
    ["-device", "virtio-9p-pci,fsdev=share,mount_tag=share,addr=04", ...devices],
  ].flat();
  // no_timer_check: on a busy machine the kernel's test of its timer fails, and it panics.
  const log = openSync(at("qemu.log"), "w");
  const child = spawn(qemu, args, { detached: true, stdio: ["ignore", log, log] });
  const host = { pid: child.pid ?? 0, folder, share };
  writeFileSync(join(work, "host.json"), JSON.stringify(host));
  let hasEnded = false;
  child.on("exit", () => {
    hasEnded = true;
  });
  child.unref();
  for (const end = Date.now() + 600_000; Date.now() < end && !hasEnded; await delay(500)) {
    const answer = await command(host, "true", 5).catch(() => undefined);
    if (answer?.code === 0) return host;
  }
  const said = `${readFileSync(at("qemu.log"), "utf8")}\n${readText(at("console.log")).slice(-2000)}`;
  endHost(work, host);
  throw new Error(`the emulated host did not come up: ${said}`);
}

/** @param {string} path */
function readText(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

/** The one that was started before, and runs still. @param {string} work @returns {Host | undefined} */
export function runningHost(work) {
  const file = join(work, "host.json");
  if (!existsSync(file)) return undefined;
  const host = JSON.parse(readFileSync(file, "utf8"));
  return readText(`/proc/${host.pid}/cmdline`).includes("\0cprkit-lab\0") ? host : undefined;
}

/** @param {string} work @param {Host} host */
export function endHost(work, { pid, folder }) {
  try {
    process.kill(pid, "SIGTERM");
  } catch {
    // It has ended.
  }
  rmSync(join(work, "host.json"), { force: true });
  rmSync(folder, { recursive: true, force: true });
}

/**
 * Runs a shell command as root in the host.
 *
 * @param {Host} host
 * @param {string} text
 * @param {number} [seconds] how long it may take
 * @returns {Promise<{ code: number, out: string }>} both outputs in one
 */
export function command({ folder }, text, seconds = 300) {
  const id = Math.random().toString(36).slice(2, 10);
  return new Promise((resolve, reject) => {
    const socket = connect(join(folder, "agent.sock"));
    let got = "";
    const fail = (/** @type {Error} */ error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(new Error(`no answer within ${seconds} s; so far: ${got}`)), seconds * 1000);
    socket.on("error", fail);
    socket.on("connect", () => socket.write(`${id} ${Buffer.from(text).toString("base64")}\n`));
    socket.on("data", (bytes) => {
      got += bytes.toString("latin1");
      const end = new RegExp(`\\n@@END ${id} (\\d+)@@`).exec(got);
      const begin = got.indexOf(`@@BEGIN ${id}@@`);
      if (end === null || begin < 0) return;
      clearTimeout(timer);
      socket.end();
      const out = Buffer.from(got.slice(got.indexOf("\n", begin) + 1, end.index), "latin1").toString();
      resolve({ code: Number(end[1]), out: out.replaceAll("\r", "") });
    });
  });
}
