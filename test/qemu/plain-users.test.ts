// Two users without rights on one machine: each updates its own QEMUs, and gets nothing done by, or of, the other's.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { startChild } from "../channel/support.ts";
import { isRoot, nobody, readableQemu, readableRepo } from "../support/other-user.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { isListening, privateDir } from "../support/vm.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

type User = typeof nobody;
const [anne, ben]: readonly [User, User] = [nobody, { uid: 65533, gid: 65533 }];

/** The command line as that user. Not synchronous: somebody must read the guest's serial port meanwhile. */
async function cprkitAs(user: User, args: readonly string[]) {
  const child = spawn(process.execPath, [join(readableRepo(), "bin/cprkit"), ...args], {
    ...user,
    cwd: "/",
    env: { PATH: process.env["PATH"] ?? "" },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      said[name] += text;
    });
  }
  const [status] = await once(child, "close");
  return { status, ...said };
}

/** A folder of that user that others can look into. */
function folderOf({ uid, gid }: User): string {
  const dir = privateDir();
  chmodSync(dir, 0o755);
  chownSync(dir, uid, gid);
  return dir;
}

const oneLine = /^cprkit: [^\n]+\n$/;

if (!isRoot) console.warn("skipped: two plain users: only root can start processes of others");

describeQemu("of two plain users", ["10.0", "11.1"], (qemu) => {
  it.runIf(isRoot)("each updates its own QEMU, and the other one's in no way", { timeout: 60_000 }, async () => {
    const programs = { "10.0": readableQemu(qemu["10.0"]), "11.1": readableQemu(qemu["11.1"]) };
    const prefix = [
      "/bin/sh",
      "-c",
      'cd / && exec "$@"',
      "sh",
      "setpriv",
      `--reuid=${anne.uid}`,
      `--regid=${anne.gid}`,
      "--clear-groups",
      "--",
    ];
    const vm = await startUpdatable({
      qemu: programs["10.0"],
      machine: "pc-q35-10.0",
      accel: "tcg",
      owner: anne,
      prefix,
    });
    // Ben can even talk to the monitor.
    chmodSync(vm.dir, 0o755);
    chmodSync(vm.qmp, 0o777);
    const state = folderOf(ben);
    for (const args of [
      ["update", "--qmp", vm.qmp],
      ["update", "--pid", String(vm.pid)],
      ["update", "--abort", "--qmp", vm.qmp],
      ["update", "--resume", "--qmp", vm.qmp],
      ["preflight", "--qmp", vm.qmp],
    ]) {
      const words = args[0] === "update" ? [...args, "--state-dir", state] : args;
      const { status, stderr, stdout } = await cprkitAs(ben, words);
      expect({ status, stdout, stderr }).toEqual({ status: 4, stdout: "", stderr: expect.stringMatching(oneLine) });
      expect(stderr).toMatch(/not allowed; run as the process's own user|no unfinished update of this VM/);
    }
    expect(vm.qemus()).toEqual([vm.pid]);
    // Anne's state folder is in her VM's; the one above is a folder for all, as /tmp is.
    const own = await cprkitAs(anne, [
      ...["update", "--qmp", vm.qmp, "--state-dir", join(vm.dir, "state"), "--qemu", programs["11.1"], "--json"],
    ]);
    expect(own).toMatchObject({ status: 0, stderr: "" });
    const { pid } = JSON.parse(own.stdout) as { readonly pid: number };
    expect(vm.qemus()).toEqual([pid]);
    expect(statSync(`/proc/${pid}`).uid).toBe(anne.uid);
    await vm.serial.waitForMore(5, 20_000);
    assertContiguous(vm.serial);
  });
});

describe.runIf(isRoot)("of two plain users, one", () => {
  it("starts no program because the other one's process looks like a QEMU that was started from it", async () => {
    const dir = folderOf(ben);
    const [program, qmp, seen] = [join(dir, "qemu"), join(dir, "q.sock"), join(dir, "seen")];
    writeFileSync(program, `#!/bin/sh\nid -u >> ${seen}\n`, { mode: 0o755 });
    writeFileSync(seen, "");
    chmodSync(seen, 0o666);
    const greeting = '{"QMP":{"version":{"qemu":{"micro":2,"minor":0,"major":10},"package":""},"capabilities":[]}}';
    const fake = `process.umask(0);
      require("node:net").createServer((socket) => {
        socket.on("error", () => undefined);
        socket.write(${JSON.stringify(`${greeting}\n`)});
        socket.on("data", (data) => {
          for (const line of String(data).trim().split("\\n")) {
            socket.write(JSON.stringify({ return: {}, id: JSON.parse(line).id }) + "\\n");
          }
        });
      }).listen(${JSON.stringify(qmp)});`;
    const child = spawn(process.execPath, ["-e", fake], { ...ben, argv0: program, cwd: dir, stdio: "ignore" });
    try {
      while (!readdirSync(dir).includes("q.sock")) await sleep(10);
      for (const command of ["preflight", "update"]) {
        const { status, stderr } = await cprkitAs(anne, [command, "--qmp", qmp]);
        expect(status).toBe(4);
        expect(stderr).toMatch(oneLine);
        expect(stderr).toContain(`/proc/${child.pid}/exe: not allowed`);
      }
      expect(statSync(seen).size).toBe(0);
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("takes no state folder that the other one can change, beside a socket or named", async () => {
    const shared = privateDir();
    chmodSync(shared, 0o1777);
    const qmp = join(shared, "q.sock");
    const theirs = join(shared, `.cprkit-${anne.uid}`);
    mkdirSync(theirs, { mode: 0o755 });
    chownSync(theirs, ben.uid, ben.gid);
    for (const words of [[], ["--state-dir", theirs], ["--state-dir", join(theirs, "below")]]) {
      const { status, stderr } = await cprkitAs(anne, ["update", "--abort", "--qmp", qmp, ...words]);
      expect(stderr).toContain(`.cprkit-${anne.uid}: it belongs to uid ${ben.uid}`);
      expect(status).not.toBe(0);
    }
    expect(readdirSync(theirs)).toEqual([]);
  });

  it("gives its fds to no process of the other one, and takes none of it", async () => {
    const shared = privateDir();
    chmodSync(shared, 0o1777);
    const [listen, connect] = [join(shared, "tap.sock"), join(shared, "new.sock")];
    const stranger = startChild("stranger", { path: connect, role: "listen" }, ben);
    await stranger.next();
    const tapped = cprkitAs(anne, ["tap", "--listen", listen, "--connect", connect, "--json"]);
    const source = startChild("stranger", { path: listen, role: "connect" }, anne);
    expect(await stranger.next()).toEqual({ bytes: 0, fds: 0 });
    expect(await tapped).toMatchObject({ status: 4, stderr: expect.stringContaining("ERR_PEER_CREDENTIALS") });
    await Promise.all([source.kill(), stranger.kill()]);

    const again = cprkitAs(anne, ["tap", "--listen", listen, "--connect", connect, "--json"]);
    while (!isListening(listen)) await sleep(10);
    // The socket is Anne's alone; root opens it for the test.
    chmodSync(listen, 0o777);
    const intruder = startChild("stranger", { path: listen, role: "connect" }, ben);
    expect(await again).toMatchObject({ status: 4, stderr: expect.stringContaining("ERR_PEER_CREDENTIALS") });
    await intruder.kill();
  });
});
