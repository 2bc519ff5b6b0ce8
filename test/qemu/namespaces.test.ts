// A VM in namespaces of its own: after the update it is in the same ones.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it } from "vitest";
import { notEnterable } from "../../src/qemu/namespaces/kinds.ts";
import { preflight } from "../../src/qemu/preflight/preflight.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { abortUpdate, resumeUpdate } from "../../src/qemu/update/recover.ts";
import { vmStatus } from "../../src/qemu/update/status.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { answererOf } from "../../src/qemu/vm/answerer.ts";
import { readCredentials } from "../../src/qemu/vm/credentials.ts";
import { cacheDir } from "../support/cache-dir.ts";
import { isRoot, nobody, readableQemu } from "../support/other-user.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { endAll, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

const kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

async function pidOf({ qmp }: Updatable): Promise<number> {
  const client = await connectQmp(qmp);
  const pid = answererOf(client)?.pid;
  await client.close();
  return pid ?? 0;
}

function namespaces(pid: number): Record<string, string> {
  return Object.fromEntries(kinds.map((kind) => [kind, readlinkSync(`/proc/${pid}/ns/${kind}`)]));
}

/** A first process that stays when the QEMU ends that it has started. */
const init = ["sh", "-c", '"$0" "$@" & while :; do sleep 1; done'];

const plain = { machine: "pc-q35-10.0", accel: "tcg" } as const;

/**
 * In a mount namespace: the VM's folder is /mnt there, and the QEMUs are below /srv; what is at the folder's own path is
 * another file system. `more`: what else is mounted.
 */
function ownMounts(more = ":", words: readonly string[] = [], cache = join(cacheDir(), "qemu")) {
  const script = `mkdir -p "$0/hidden" && mount --bind "$0" /mnt && mount --bind "$1" /srv && mount -t tmpfs none "$0" &&
    mount -t tmpfs none /mnt/hidden && ${more} && p="$(echo "$2" | sed "s|^$1|/srv|")" && shift 2 && exec ${words.join(" ")} "$p" "$@"`;
  return {
    prefix: (dir: string) => ["unshare", "--mount", "sh", "-c", script, dir, cache],
    rewrite: (args: readonly string[], dir: string) => [
      ...args.map((word) => word.replaceAll(dir, "/mnt")),
      // By this the test finds its processes.
      ...["-name", `${dir}/guest.`],
    ],
  };
}

const program = (version: string) => `/srv/${version}/qemu-system-x86_64`;

describeQemu("a VM in namespaces", ["10.0", "11.1"], (qemu) => {
  it.runIf(isRoot)("all but mount and user: 10.0 -> 11.1 -> 10.0", async () => {
    const unshare = ["unshare", "--net", "--ipc", "--uts", "--cgroup", "--time", "--pid", "--fork"];
    const vm = await startUpdatable({ ...plain, qemu: qemu["10.0"], prefix: [...unshare, ...init] });
    const before = namespaces(await pidOf(vm));
    const own = namespaces(process.pid);
    expect(kinds.filter((kind) => before[kind] === own[kind])).toEqual(["mnt", "user"]);
    for (const version of ["11.1", "10.0"] as const) {
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
      expect(report.pid).toBe(await pidOf(vm));
      expect(namespaces(report.pid)).toEqual(before);
      expect(report.warnings.filter((text) => !text.includes("is older than the running"))).toEqual([]);
    }
    expect(namespaces(process.pid)).toEqual(own);
    await vm.serial.waitForMore(20, 20_000);
    assertContiguous(vm.serial);
  });

  for (const mode of ["cpr-transfer", "cpr-exec"] as const) {
    const [from, later] =
      mode === "cpr-transfer" ? (["10.0", ["11.1", "10.0"]] as const) : (["11.1", ["11.1"]] as const);
    it.runIf(isRoot)(`mount: ${[from, ...later].join(" -> ")}, ${mode}`, async () => {
      const vm = await startUpdatable({ ...plain, qemu: qemu[from], ...ownMounts(), devices: true });
      const before = namespaces(await pidOf(vm));
      expect(before["mnt"]).not.toBe(namespaces(process.pid)["mnt"]);
      const { stateDir } = vm;
      for (const version of later) {
        const report = await updateVm({ qmp: vm.qmp }, { qemu: program(version), mode, stateDir });
        expect(report.command[0]).toBe(program(version));
        expect(namespaces(report.pid)).toEqual(before);
        expect(report.warnings.filter((text) => !text.includes("is older than the running"))).toEqual([]);
        expect(report.pid).toBe(await pidOf(vm));
        expect((await vmStatus({ qmp: vm.qmp }, { stateDir })).pid).toBe(report.pid);
        // By its process, through its own root folder.
        expect((await preflight({ pid: report.pid }, { qemu: program(version), stateDir })).findings).toEqual([]);
      }
      expect(socketsIn(vm)).toEqual(["qmp.sock"]);
      await vm.serial.waitForMore(20, 20_000);
      assertContiguous(vm.serial);
    });
  }

  it.runIf(isRoot)("named by its process alone, and taken back", async () => {
    const vm = await startUpdatable({ ...plain, qemu: qemu["10.0"], ...ownMounts() });
    const pid = await pidOf(vm);
    const options = { qemu: program("11.1"), stateDir: vm.stateDir };
    await expect(updateVm({ pid }, { ...options, hooks: { beforePause: "exit 1" } })).rejects.toThrow(
      `the update was rolled back: the old QEMU has the guest (running), pid ${pid}`,
    );
    expect(await pidOf(vm)).toBe(pid);
    expect(vm.qemus()).toEqual([pid]);
    expect(socketsIn(vm)).toEqual(["qmp.sock"]);
    const report = await updateVm({ pid }, options);
    expect(report.qmp).toBe(`/proc/${report.pid}/root/mnt/qmp.sock`);
    expect((await vmStatus({ qmp: report.qmp }, options)).pid).toBe(report.pid);
    await vm.serial.waitForMore(20, 20_000);
    assertContiguous(vm.serial);
  });

  it.runIf(isRoot)("finished, in a mount namespace, by another cprkit than the one that was killed", async () => {
    const vm = await startUpdatable({ ...plain, qemu: qemu["10.0"], ...ownMounts() });
    const pid = await pidOf(vm);
    const { stateDir } = vm;
    // Not spawnSync: the test must go on reading what the guest writes.
    const killedAt = async (at: string) => {
      const script = fileURLToPath(new URL("children/update.mjs", import.meta.url));
      const options = { at, target: { qmp: vm.qmp }, qemu: program("11.1"), stateDir };
      const child = spawn(process.execPath, [script, JSON.stringify(options)], { stdio: "ignore" });
      expect(await once(child, "close")).toEqual([null, "SIGKILL"]);
    };
    await killedAt("destination-ready");
    expect(vm.qemus()).toHaveLength(2);
    expect(await abortUpdate({ qmp: vm.qmp }, { stateDir })).toMatchObject({
      outcome: "rolled-back",
      pid,
      warnings: [],
    });
    expect(vm.qemus()).toEqual([pid]);
    expect(socketsIn(vm)).toEqual(["qmp.sock"]);
    await killedAt("running");
    const recovery = await resumeUpdate({ qmp: vm.qmp }, { stateDir });
    expect(recovery).toMatchObject({ outcome: "updated", warnings: [] });
    expect(await pidOf(vm)).toBe(recovery.pid);
    expect(vm.qemus()).toEqual([recovery.pid]);
    await vm.serial.waitForMore(20, 20_000);
    assertContiguous(vm.serial);
  });

  it.runIf(isRoot)("what is in another user's mount namespace runs with that user's rights alone", async () => {
    const own = readableQemu(qemu["10.0"]);
    const vm = await startUpdatable({
      ...plain,
      qemu: own,
      owner: nobody,
      ...ownMounts(
        // Whoever runs sh(1) or setpriv(1) in there says who it is.
        `cp /usr/bin/setpriv /mnt/rights && printf '#!/bin/bash\nid -u >>/mnt/uids\nexec /bin/bash "$@"\n' >/mnt/sh && chmod 755 /mnt/sh &&
         touch /mnt/uids && chown 65534 /mnt/uids && mount --bind /mnt/sh /usr/bin/setpriv`,
        [
          ...[
            "/bin/bash",
            "-c",
            `'mount --bind /mnt/sh /bin/sh; exec /mnt/rights --reuid=65534 --regid=65534 --groups=36 --no-new-privs "$0" "$@"'`,
          ],
        ],
        dirname(own),
      ),
    });
    const before = readCredentials(await pidOf(vm));
    expect(before).toMatchObject({ uid: 65534, groups: [36], noNewPrivs: true });
    const report = await updateVm({ qmp: vm.qmp }, { qemu: "/srv/qemu-system-x86_64", stateDir: vm.stateDir });
    expect(readCredentials(report.pid)).toEqual(before);
    const uids = new Set(readFileSync(join(vm.dir, "uids"), "utf8").trim().split("\n"));
    expect([...uids]).toEqual(["65534"]);
  });

  it.runIf(isRoot)(
    "refused by name: a folder that it does not see, a pid namespace that would end with it",
    async () => {
      const vm = await startUpdatable({ ...plain, qemu: qemu["10.0"], ...ownMounts() });
      const hidden = join(vm.dir, "hidden/state");
      const { findings } = await preflight({ qmp: vm.qmp }, { qemu: program("11.1"), stateDir: hidden });
      expect(findings).toMatchObject([
        { code: "namespace", severity: "blocker", subject: expect.stringContaining(hidden) },
      ]);
      const first = await startUpdatable({ ...plain, qemu: qemu["10.0"], prefix: ["unshare", "--pid", "--fork"] });
      const answer = await preflight({ qmp: first.qmp }, { qemu: qemu["11.1"], stateDir: first.stateDir });
      expect(answer.findings.map(({ code }) => code)).toEqual(["namespace"]);
      expect(answer.ok).toBe(false);
    },
  );
});

function socketsIn({ dir }: Updatable): string[] {
  return readdirSync(dir).filter((name) => name.startsWith("qmp.sock"));
}

it("only root enters another namespace", () => {
  const user = { ...readCredentials("self"), effective: 0n };
  expect(notEnterable(process.pid, [], user, undefined)).toEqual([]);
  expect(notEnterable(process.pid, ["user"], user, undefined)).toEqual([]);
  expect(notEnterable(process.pid, ["mnt", "net"], user, user.label)).toEqual([
    "it is in another namespace (mount, network), which only root may enter",
  ]);
});
