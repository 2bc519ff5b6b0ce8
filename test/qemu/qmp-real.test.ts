// The QMP client against real QEMU: what the scripted server takes for granted is checked here.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { connectQmp, type Qmp } from "../../src/qemu/qmp/client.ts";
import { type QmpCommand, qmpReturns } from "../../src/qemu/qmp/schema.ts";
import { isCprkitError } from "../../src/vmstate/error.ts";
import { describeQemu } from "../support/qemu.ts";

async function errorOf(promise: Promise<unknown>) {
  try {
    await promise;
  } catch (error) {
    if (isCprkitError(error)) return error;
    throw error;
  }
  throw new Error("expected a rejection");
}

/** Queries without arguments, run against every QEMU: each description must fit what it returns. */
const queries = Object.keys(qmpReturns).filter((name) => name.startsWith("query-")) as QmpCommand[];

for (const version of ["10.0", "11.1"] as const) {
  describeQemu(`QMP of QEMU ${version}`, [version], ({ [version]: binary }) => {
    let folder: string;
    let qemu: ChildProcess;
    let exited: Promise<void>;
    let qmp: Qmp;
    const at = (name: string) => join(folder, name);

    beforeEach(async () => {
      folder = mkdtempSync(join(tmpdir(), "cprkit-qmp-"));
      const chardev = (id: string) => ["-chardev", `socket,id=${id},path=${at(id)},server=on,wait=off`];
      const options = [
        ["-machine", "q35,accel=tcg,aux-ram-share=on,memory-backend=m0", "-m", "32", "-S", "-nodefaults"],
        ["-object", "memory-backend-memfd,id=m0,size=32M,share=on", "-display", "none", "-object", "iothread,id=io0"],
        ["-blockdev", "null-co,node-name=n0,size=1048576", "-device", "virtio-blk-pci,drive=n0,iothread=io0"],
        ["-device", "pcie-root-port,id=rp", "-device", "virtio-rng-pci,bus=rp"],
        ["-device", "vmgenid,guid=auto"],
        ["-netdev", "hubport,id=net0,hubid=0", "-device", "virtio-net-pci,netdev=net0"],
        [...chardev("plain"), "-mon", "chardev=plain,mode=control"],
        [...chardev("pretty"), "-mon", "chardev=pretty,mode=control,pretty=on"],
        [...chardev("human"), "-mon", "chardev=human,mode=readline"],
      ];
      qemu = spawn(binary, options.flat(), { stdio: "ignore" });
      const dead = new AbortController();
      exited = new Promise((resolve) => {
        qemu.once("error", () => dead.abort());
        qemu.once("exit", () => {
          dead.abort();
          resolve();
        });
      });
      qmp = await connectQmp(at("plain"), { waitMs: 30_000, signal: dead.signal });
    });

    afterEach(async () => {
      await qmp?.close();
      qemu.kill("SIGKILL");
      if (qemu.pid !== undefined) await exited;
      rmSync(folder, { recursive: true, force: true });
    });

    it("greets with its version, and every query returns what is described", async () => {
      const { major, minor, micro } = qmp.greeting.version;
      expect(`${major}.${minor}`).toBe(version);
      expect(qmp.oob).toBe(true);
      expect(await qmp.execute("query-version")).toMatchObject({ qemu: { major, minor, micro } });
      for (const query of queries) await qmp.execute(query);
      expect(await qmp.execute("query-memdev")).toMatchObject([{ id: "m0", share: true }]);
      expect(await qmp.execute("qom-get", { path: "/machine", property: "type" })).toContain("pc-q35");
      expect(await qmp.execute("qom-list", { path: "/machine" })).toContainEqual({ name: "type", type: "string" });
      expect((await qmp.execute("qom-list-types", { implements: "machine" })).length).toBeGreaterThan(5);
      const text = await qmp.execute("human-monitor-command", { "command-line": "info version" });
      expect(text).toContain(`${major}.${minor}.${micro}`);
    });

    it("gives STOP and RESUME in order, with QEMU's times", async () => {
      const before = Date.now() * 1000;
      const since = qmp.lastEventSeq();
      await qmp.execute("cont");
      await qmp.execute("stop");
      const resume = await qmp.waitForEvent("RESUME", { since });
      const stop = await qmp.waitForEvent("STOP", { since: resume.seq });
      expect(stop.timeUs).toBeGreaterThanOrEqual(resume.timeUs);
      expect(Math.abs(resume.timeUs - before)).toBeLessThan(60e6);
      expect((await qmp.execute("query-status")).status).toBe("paused");
    });

    it("passes on QEMU's refusals, in band and out of band", async () => {
      const unknown = await errorOf(qmp.execute("no-such-command"));
      expect(unknown).toMatchObject({ code: "ERR_QMP_COMMAND", qmpClass: "CommandNotFound" });
      for (const oob of [false, true]) {
        const refused = await errorOf(qmp.execute("migrate-pause", {}, { oob }));
        expect(refused).toMatchObject({ code: "ERR_QMP_COMMAND", qmpClass: "GenericError" });
        expect(refused.message).toContain("postcopy");
      }
      const inBandOnly = await errorOf(qmp.execute("query-status", {}, { oob: true }));
      expect(inBandOnly.message).toContain("does not support OOB");
    });

    it("reads a monitor with pretty=on, and one that an earlier client has left", async () => {
      for (let round = 0; round < 2; round += 1) {
        const pretty = await connectQmp(at("pretty"));
        expect((await pretty.execute("query-status")).status).toBe("prelaunch");
        expect(await pretty.execute("query-qmp-schema")).toHaveProperty("length");
        await pretty.close();
      }
    });

    it("says that another client holds the monitor, and recognises a human one", async () => {
      const attempts = [1, 2, 3, 4].map(() => errorOf(connectQmp(at("plain"), { timeoutMs: 200 })));
      for (const error of await Promise.all(attempts)) {
        expect(error.code).toBe("ERR_TIMEOUT");
        expect(error.message).toContain("another client holds this monitor");
      }
      expect((await errorOf(connectQmp(at("human")))).message).toContain("human monitor");
      expect((await qmp.execute("query-status")).running).toBe(false);
    });

    it("ends with SHUTDOWN and a hang-up on quit", async () => {
      await qmp.execute("quit");
      expect(await qmp.closed).toMatchObject({ kind: "hangup", error: { code: "ERR_QEMU_EXITED" } });
      expect((await qmp.waitForEvent("SHUTDOWN", { since: 0 })).data).toMatchObject({ reason: "host-qmp-quit" });
    });

    it("rejects what is under way when QEMU is killed", async () => {
      qemu.kill("SIGSTOP");
      const waiting = errorOf(qmp.execute("query-status"));
      const event = errorOf(qmp.waitForEvent("STOP"));
      qemu.kill("SIGKILL");
      expect((await waiting).code).toBe("ERR_QEMU_EXITED");
      expect((await waiting).message).toContain('"query-status"');
      expect((await event).code).toBe("ERR_QEMU_EXITED");
    });
  });
}
