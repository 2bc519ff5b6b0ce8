// Whose rights: the new QEMU gets those of the old one, and nothing that another user chose runs with ours.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { listFds } from "../../src/linux/index.ts";
import { preflight } from "../../src/qemu/preflight/preflight.ts";
import { resumeUpdate } from "../../src/qemu/update/recover.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import {
  type Credentials,
  moreRights,
  notGivable,
  readCredentials,
  setprivWords,
} from "../../src/qemu/vm/credentials.ts";
import { startLike } from "../../src/qemu/vm/launcher.ts";
import { readVmProcess } from "../../src/qemu/vm/process.ts";
import { isRoot, nobody, readableQemu } from "../support/other-user.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { killAllVms, privateDir } from "../support/vm.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(async () => {
  await endAll();
  await killAllVms();
});

const none = ["--inh-caps=-all", "--bounding-set=-all"];

describe("rights", () => {
  const root: Credentials = {
    uid: 0,
    gid: 0,
    groups: [],
    umask: 0o022,
    inheritable: 0n,
    permitted: 0x1ffn,
    effective: 0x1ffn,
    bounding: 0x1ffn,
    ambient: 0n,
    noNewPrivs: false,
    filters: 0,
    label: undefined,
    userNamespace: "user:[1]",
    isPlain: true,
  };
  const user: Credentials = { ...root, uid: 1000, gid: 1000, groups: [36, 1000], permitted: 0n };

  it("root can give them all, a plain user only its own", () => {
    expect(notGivable(root, root)).toEqual([]);
    expect(notGivable(root, user)).toEqual([]);
    expect(notGivable(root, { ...root, permitted: 1n, bounding: 1n, noNewPrivs: true })).toEqual([]);
    expect(notGivable(user, user)).toEqual([]);
    expect(notGivable(user, { ...user, noNewPrivs: true, filters: 1 })).toEqual([]);
    expect(notGivable(user, { ...user, groups: [1000] })).toEqual([expect.stringContaining("groups 1000, cprkit")]);
    expect(notGivable(user, { ...user, uid: 1001 })).toHaveLength(1);
    expect(notGivable({ ...user, noNewPrivs: true }, user)).toEqual(["cprkit has no_new_privs"]);
    expect(notGivable(root, { ...user, permitted: 1n })).toHaveLength(1);
    expect(notGivable(root, { ...user, permitted: 1n, inheritable: 1n, ambient: 1n })).toEqual([]);
    expect(notGivable(root, { ...root, filters: 2 })).toHaveLength(1);
    expect(notGivable(root, { ...root, userNamespace: "user:[2]" })).toHaveLength(1);
    expect(notGivable(root, { ...user, isPlain: false })).toHaveLength(1);
  });

  it("only what differs is set", () => {
    expect(setprivWords(user, user)).toEqual(["setpriv", "--"]);
    expect(setprivWords(user, { ...user, noNewPrivs: true })).toEqual(["setpriv", "--no-new-privs", "--"]);
    expect(setprivWords(root, { ...user, groups: [] })).toContain("--keep-groups");
    expect(setprivWords({ ...root, groups: [4] }, { ...user, groups: [] })).toContain("--clear-groups");
    expect(setprivWords(root, user)).toEqual(["setpriv", "--reuid=1000", "--regid=1000", "--groups=36,1000", "--"]);
    expect(setprivWords(root, { ...root, permitted: 5n })).toContain("--bounding-set=-all,+cap_0,+cap_2");
    expect(setprivWords(root, { ...root, label: "vm-1 (enforce)" })).toContain("--apparmor-profile=vm-1");
    const context = "system_u:system_r:svirt_t:s0:c1,c2";
    expect(setprivWords(root, { ...root, label: context })).toContain(`--selinux-label=${context}`);
  });

  it("more of them are seen, each by its name", () => {
    expect(moreRights(user, user)).toEqual([]);
    expect(moreRights({ ...user, groups: [36] }, user)).toEqual([]);
    expect(moreRights(root, user)).toEqual([
      "uid 0 in place of 1000",
      "gid 0 in place of 1000",
      "permitted capabilities 1ff (hexadecimal)",
    ]);
    expect(moreRights(user, { ...user, noNewPrivs: true, filters: 1, label: "a" })).toHaveLength(3);
  });
});

/** What of a QEMU's rights must stay; the number of filters differs with -sandbox alone. */
const rightsOf = (pid: number) => readCredentials(pid);

describe.runIf(isRoot)("as root", () => {
  it("nothing of another user's environment takes effect before that user's rights do", async () => {
    const child = spawn("/bin/sleep", ["60"], {
      ...nobody,
      env: { LD_PRELOAD: "/tmp/evil.so", "odd name": "x", A: "it's" },
    });
    try {
      await once(child, "spawn");
      const start = startLike(readVmProcess(child.pid ?? 0), {
        words: ["/bin/true"],
        env: { LD_PRELOAD: "x", CPRKIT_UPDATE: "abc" },
      });
      // The mark by which the process is found again is ours, and there before the shell has those rights.
      expect(start.env).toEqual({ PATH: "/usr/sbin:/usr/bin:/sbin:/bin", CPRKIT_UPDATE: "abc" });
      // Not by a path that the user could lead elsewhere.
      expect(start.cwd).toBe(`/proc/${child.pid}/cwd`);
      expect(start.args.join(" ")).not.toContain("LD_PRELOAD");
      start.close();
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("the program of a process that only looks like QEMU runs with its own user's rights", async () => {
    const dir = privateDir();
    chownSync(dir, nobody.uid, nobody.gid);
    const [program, qmp, seen] = [join(dir, "qemu"), join(dir, "q.sock"), join(dir, "seen")];
    // What the fake one was started from: it writes down who runs it, and with what.
    writeFileSync(program, `#!/bin/sh\necho "$(id -u) $(id -G) $CHOSEN $(pwd)" >> ${seen}\n`, { mode: 0o755 });
    const fake = join(dir, "fake.mjs");
    writeFileSync(fake, fakeQemu);
    const child = spawn(process.execPath, [fake, qmp, seen], {
      ...nobody,
      argv0: program,
      cwd: dir,
      env: { CHOSEN: "by nobody" },
      stdio: "inherit",
    });
    try {
      while (!readdirSync(dir).includes("q.sock")) await sleep(10);
      await preflight({ qmp }, { timeoutMs: 2_000 }).catch(() => undefined);
      await updateVm({ qmp }, { timeoutMs: 2_000, stateDir: join(privateDir(), "s") }).catch(() => undefined);
      const lines = new Set(readFileSync(seen, "utf8").trim().split("\n"));
      expect([...lines]).toEqual([`${nobody.uid} ${nobody.gid} by nobody ${dir}`]);
    } finally {
      child.kill("SIGKILL");
    }
  });
});

/** Says of itself that it is QEMU 10.0.2 and answers questions with nothing. */
const fakeQemu = `
import { existsSync } from "node:fs";
import { createServer } from "node:net";
createServer((socket) => {
  socket.on("error", () => undefined);
  socket.write(JSON.stringify({ QMP: { version: { qemu: { micro: 2, minor: 0, major: 10 }, package: "" }, capabilities: [] } }) + "\\n");
  let rest = "";
  socket.on("data", (data) => {
    const lines = (rest + data).split("\\n");
    rest = lines.pop();
    for (const line of lines) {
      const { execute, id } = JSON.parse(line);
      const lists = /machines|list|memdev|chardev|nodes|capabilities/.test(execute);
      const status = { status: "running", running: true, enabled: false, present: false };
      const answer = execute === "qom-get" ? "pc-q35-10.0-machine" : lists ? [] : status;
      const text = JSON.stringify({ return: /migrate/.test(execute) && !lists ? {} : answer, id }) + "\\n";
      // Not before the program was asked, too: an answer that cprkit can't use ends everything.
      const reply = () => (execute === "qmp_capabilities" || existsSync(process.argv[3]) ? socket.write(text) : setTimeout(reply, 10));
      reply();
    }
  });
}).listen(process.argv[2]);
`;

describeQemu("an update by root", ["10.0", "11.1"], (qemu) => {
  const options = { machine: "pc-q35-10.0", accel: "tcg" } as const;

  it.runIf(isRoot)("of another user's QEMU: its user, groups, umask and files, there and back", async () => {
    const programs = { "10.0": readableQemu(qemu["10.0"]), "11.1": readableQemu(qemu["11.1"]) };
    const setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=36,65534", ...none, "--"];
    const vm = await startUpdatable({
      ...options,
      qemu: programs["10.0"],
      owner: nobody,
      prefix: ["/bin/sh", "-c", 'umask 027; exec "$@"', "sh", ...setpriv],
    });
    const before = rightsOf(vm.pid);
    expect(before).toMatchObject({ uid: 65534, gid: 65534, groups: [36, 65534], umask: 0o027, permitted: 0n });
    for (const version of ["11.1", "10.0"] as const) {
      const open = listFds().length;
      const report = await updateVm({ qmp: vm.qmp }, { qemu: programs[version], stateDir: vm.stateDir });
      // The new QEMU is connected to the test where the old one was.
      await expect.poll(() => listFds().length).toBe(open);
      expect(report.to).toMatch(new RegExp(`^${version}`));
      expect(rightsOf(report.pid)).toEqual(before);
      expect(readFileSync(`/proc/${report.pid}/environ`, "utf8")).not.toContain("CPRKIT_PROBE");
      expect(statSync(vm.qmp)).toMatchObject({ uid: 65534, gid: 65534 });
      const [name = ""] = readdirSync(vm.stateDir);
      expect(readdirSync(join(vm.stateDir, name)).filter((each) => !/^(journal\.json|.*\.log)$/.test(each))).toEqual(
        [],
      );
    }
    await vm.serial.waitForMore(20, 20_000);
    assertContiguous(vm.serial);
  });

  it.runIf(isRoot)(
    "that is resumed: what its user put in the program's place since runs with that user's rights",
    async () => {
      const real = readableQemu(qemu["10.0"]);
      const setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", ...none, "--"];
      const vm = await startUpdatable({ ...options, qemu: real, owner: nobody, prefix: setpriv });
      const [program, seen] = [join(vm.dir, "new-qemu"), join(vm.dir, "seen")];
      const put = (line: string) => {
        writeFileSync(program, `#!/bin/sh\n${line}\nexec ${real} "$@"\n`, { mode: 0o755 });
        chownSync(program, nobody.uid, nobody.gid);
      };
      put("");
      const child = fileURLToPath(new URL("children/update.mjs", import.meta.url));
      const asked = { target: { qmp: vm.qmp }, stateDir: vm.stateDir, qemu: program, at: "started" };
      expect(spawnSync(process.execPath, [child, JSON.stringify(asked)]).signal).toBe("SIGKILL");
      put(`echo "$(id -u) $(id -G)" >> ${seen}`);
      const { outcome, pid = 0 } = await resumeUpdate({ qmp: vm.qmp }, { stateDir: vm.stateDir });
      expect(outcome).toBe("updated");
      expect(new Set(readFileSync(seen, "utf8").trim().split("\n"))).toEqual(new Set(["65534 65534"]));
      expect(rightsOf(pid)).toMatchObject({ uid: 65534, permitted: 0n, bounding: 0n });
      await vm.serial.waitForMore(5, 20_000);
    },
  );

  for (const mode of ["cpr-transfer", "cpr-reboot"] as const) {
    it.runIf(isRoot)(`of a QEMU without capabilities: ${mode} gives it none`, async () => {
      const vm = await startUpdatable({
        ...options,
        qemu: qemu["10.0"],
        ram: mode === "cpr-reboot" ? "file" : "memfd",
        prefix: ["/bin/sh", "-c", 'umask 077; exec "$@"', "sh", "setpriv", "--no-new-privs", ...none, "--"],
      });
      const before = rightsOf(vm.pid);
      expect(before).toMatchObject({ uid: 0, permitted: 0n, bounding: 0n, noNewPrivs: true, umask: 0o077 });
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], mode, stateDir: vm.stateDir });
      expect(rightsOf(report.pid)).toEqual(before);
    });
  }

  it("of a QEMU in a sandbox of its own", async () => {
    const accel = await usableAccel(qemu["10.0"]);
    const vm = await startUpdatable({ ...options, accel, qemu: qemu["10.0"], extraArgs: () => ["-sandbox", "on"] });
    const before = rightsOf(vm.pid);
    expect(before).toMatchObject({ filters: readCredentials("self").filters + 1, noNewPrivs: true });
    const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir });
    expect(rightsOf(report.pid)).toEqual(before);
  });

  it.runIf(isRoot)("of a VM whose state folder its user can't reach is rolled back, and says so", async () => {
    const program = readableQemu(qemu["10.0"]);
    const setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", ...none, "--"];
    const vm = await startUpdatable({ ...options, qemu: program, owner: nobody, prefix: setpriv });
    const closed = privateDir();
    chmodSync(closed, 0o700);
    const refused = updateVm({ qmp: vm.qmp }, { qemu: program, stateDir: join(closed, "deep", "state") });
    await expect(refused).rejects.toThrow(/QEMU's user \(uid 65534\) can't pass through this folder/);
    expect(vm.qemus()).toEqual([vm.pid]);
    await vm.serial.waitForMore(5, 20_000);
  });
});
