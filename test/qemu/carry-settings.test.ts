// What was set in a running QEMU: trace events, a display's password, and what QEMU does not tell.
import { spawn } from "node:child_process";
import { createCipheriv } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { preflight } from "../../src/qemu/preflight/preflight.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { cprkit } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { withVm } from "./preflight-support.ts";
import { ask, endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

/** Whether a VNC server lets somebody with this password in (RFC 6143, 7.2.2). */
async function logsIn(path: string, password: string): Promise<boolean> {
  const socket = connect(path);
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let have = Buffer.alloc(0);
  const read = async (length: number) => {
    while (have.length < length) {
      const { value, done } = await chunks.next();
      if (done === true) throw new Error("the VNC server hung up");
      have = Buffer.concat([have, value]);
    }
    const bytes = have.subarray(0, length);
    have = have.subarray(length);
    return bytes;
  };
  try {
    socket.write(await read(12));
    await read((await read(1))[0] ?? 0);
    socket.write(Uint8Array.of(2));
    // Three times DES with one key is DES; VNC has each byte's bits in the other order.
    const key = Buffer.alloc(8);
    key.write(password);
    for (const [index, byte] of key.entries()) {
      key[index] = Number.parseInt(byte.toString(2).padStart(8, "0").split("").reverse().join(""), 2);
    }
    const cipher = createCipheriv("des-ede3-ecb", Buffer.concat([key, key, key]), null).setAutoPadding(false);
    socket.write(cipher.update(await read(16)));
    return (await read(4)).readUInt32BE() === 0;
  } finally {
    socket.destroy();
  }
}

describeQemu("what was set in a running QEMU", ["10.0", "11.1"], (qemu) => {
  for (const [from, to, mode] of [
    ["10.0", "11.1", "cpr-transfer"],
    ["11.1", "10.0", "cpr-transfer"],
    ["11.1", "11.1", "cpr-exec"],
  ] as const) {
    it(`trace events, and a password of VNC: ${from} -> ${to} by ${mode}`, async () => {
      const vm = await startUpdatable({
        machine: "pc-q35-10.0",
        accel: "tcg",
        qemu: qemu[from],
        extraArgs: (dir) => ["-device", "VGA", "-vnc", `unix:${dir}/vnc.sock,password=on`],
      });
      const vnc = join(vm.dir, "vnc.sock");
      const password = "wel-come";
      await ask(vm, async (qmp) => {
        await qmp.execute("set_password", { protocol: "vnc", password });
        await qmp.execute("trace-event-set-state", { name: "virtio_set_status", enable: true });
      });
      expect(await logsIn(vnc, password)).toBe(true);
      const { findings } = await preflight({ qmp: vm.qmp }, { qemu: qemu[to], mode });
      expect(findings.filter(({ code }) => code === "password")).toMatchObject([
        { severity: "warning", subject: "vnc" },
      ]);
      const file = join(vm.dir, "password");
      writeFileSync(file, `${password}\n`, { mode: 0o600 });
      const words = ["update", "--qmp", vm.qmp, "--qemu", qemu[to], "--mode", mode, "--state-dir", vm.stateDir];
      const done = cprkit([...words, "--vnc-password-file", file, "--json"]);
      const report = JSON.parse(done.stdout) as { readonly warnings: readonly string[]; readonly pid: number };
      expect(report.warnings.filter((text) => !text.includes("is older than the running"))).toEqual([]);
      expect(await logsIn(vnc, password)).toBe(true);
      expect(await logsIn(vnc, "another1")).toBe(false);
      const [event] = await ask(vm, (qmp) => qmp.execute("trace-event-get-state", { name: "virtio_set_status" }));
      expect(event?.state).toBe("enabled");
      // Neither on a command line nor written down.
      expect(readFileSync(`/proc/${report.pid}/cmdline`, "utf8")).not.toContain(password);
      for (const name of readdirSync(vm.stateDir, { recursive: true, encoding: "utf8" })) {
        if (/\.(json|log)$/.test(name)) expect(readFileSync(join(vm.stateDir, name), "utf8")).not.toContain(password);
      }
    });
  }

  it("a TPM emulator, a watchdog: said before anything is started", async (context) => {
    const state = (dir: string) => {
      mkdirSync(join(dir, "tpm"));
      return ["socket", "--tpm2", "--tpmstate", `dir=${dir}/tpm`, "--ctrl", `type=unixio,path=${dir}/tpm.sock`];
    };
    const vm = await startUpdatable({
      machine: "pc-q35-10.0",
      accel: "tcg",
      qemu: qemu["10.0"],
      extraArgs: () => ["-device", "i6300esb,id=dog"],
    });
    const { findings, ok } = await preflight({ qmp: vm.qmp }, { qemu: qemu["11.1"] });
    expect(ok).toBe(true);
    expect(findings.map(({ code, subject }) => [code, subject])).toEqual([["watchdog-action", "dog"]]);
    const emulator = spawn("swtpm", [...state(vm.dir), "--flags", "startup-clear"], { stdio: "ignore" });
    const isThere = await new Promise((resolve) => {
      emulator.once("spawn", () => resolve(true));
      emulator.once("error", () => resolve(false));
    });
    if (isThere !== true) context.skip("swtpm is not installed");
    try {
      while (!existsSync(join(vm.dir, "tpm.sock"))) await sleep(10);
      const args = () => [
        ...["-chardev", `socket,id=ctpm,path=${vm.dir}/tpm.sock`, "-tpmdev", "emulator,id=tpm0,chardev=ctpm"],
        ...["-device", "tpm-crb,tpmdev=tpm0"],
      ];
      await withVm({ qemu: qemu["10.0"], args }, async ({ qmpPath }) => {
        const report = await preflight({ qmp: qmpPath }, { qemu: qemu["11.1"] });
        expect(report.findings.map(({ code, subject }) => [code, subject])).toEqual([["tpm-emulator", "tpm0"]]);
        await expect(updateVm({ qmp: qmpPath }, { qemu: qemu["11.1"], stateDir: vm.stateDir })).rejects.toThrow(
          "tpm-emulator",
        );
      });
    } finally {
      emulator.kill("SIGKILL");
    }
  });
});
