// Sockets, the pidfile and the log of the new QEMU: who may use them, and what was in them.
import {
  appendFileSync,
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { setOwner } from "../../src/qemu/attributes/owners.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { isRoot, nobody, readableQemu } from "../support/other-user.ts";
import { describeQemu } from "../support/qemu.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

const users = 100;

const plain = { machine: "pc-q35-10.0", accel: "tcg" } as const;

const more = (dir: string) => [
  ...["-chardev", `socket,id=agent,path=${dir}/agent.sock,server=on,wait=off`],
  ...["-monitor", `unix:${dir}/hmp.sock,server=on,wait=off`],
  ...["-pidfile", `${dir}/pid`, "-d", "guest_errors,unimp", "-D", `${dir}/qemu.log`],
];

function look(path: string): readonly number[] {
  const { mode, uid, gid } = statSync(path);
  return [mode & 0o7777, uid, gid];
}

describeQemu("an update keeps", ["10.0", "11.1"], (qemu) => {
  for (const [from, later, mode] of [
    ["10.0", ["11.1", "10.0"], "cpr-transfer"],
    ["11.1", ["11.1", "11.1"], "cpr-exec"],
  ] as const) {
    it.runIf(isRoot)(`owners and modes of sockets and the log: ${[from, ...later].join(" -> ")}, ${mode}`, async () => {
      const vm = await startUpdatable({ ...plain, qemu: qemu[from], extraArgs: more });
      const path = (name: string) => join(vm.dir, name);
      chownSync(path("agent.sock"), 0, users);
      chmodSync(path("agent.sock"), 0o660);
      chmodSync(path("hmp.sock"), 0o700);
      chmodSync(path("pid"), 0o640);
      const names = ["agent.sock", "hmp.sock", "qmp.sock", "pid"];
      const before = names.map((name) => look(path(name)));
      expect(before[0]).toEqual([0o660, 0, users]);
      appendFileSync(path("qemu.log"), "what the first one has written\n");
      for (const version of later) {
        const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
        expect(names.map((name) => look(path(name)))).toEqual(before);
        expect(readFileSync(path("pid"), "utf8").trim()).toBe(String(report.pid));
        expect(report.warnings.filter((text) => !text.includes("is older than the running"))).toEqual([]);
        expect(readFileSync(path("qemu.log.cpr0"), "utf8")).toContain("what the first one has written");
        // The name leads to what is written now.
        expect(statSync(path("qemu.log")).ino).not.toBe(statSync(path("qemu.log.cpr0")).ino);
      }
    });
  }

  it.runIf(isRoot)("what root has set on the socket of another user's QEMU", async () => {
    const own = readableQemu(qemu["10.0"]);
    const vm = await startUpdatable({
      ...plain,
      qemu: own,
      prefix: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
      owner: nobody,
      extraArgs: more,
    });
    const socket = join(vm.dir, "agent.sock");
    chownSync(socket, 0, users);
    chmodSync(socket, 0o660);
    await updateVm({ qmp: vm.qmp }, { stateDir: vm.stateDir });
    expect(look(socket)).toEqual([0o660, 0, users]);
    expect(lstatSync(socket).isSocket()).toBe(true);
  });
});

it.runIf(isRoot)("an owner is given to what QEMU's user has made, and to nothing else", async () => {
  const dir = mkdtempSync(join(tmpdir(), "owners-"));
  const path = (name: string) => join(dir, name);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path("socket"), resolve));
  try {
    const user = { ...nobody, groups: [] };
    const wanted = { path: "socket", mode: "4777", uid: 0, gid: users };
    const refused = "it is not what the new QEMU has made";
    // Root's own.
    chmodSync(path("socket"), 0o700);
    expect(setOwner(path("socket"), wanted, user)).toContain(refused);
    expect(look(path("socket"))).toEqual([0o700, 0, 0]);
    chownSync(path("socket"), nobody.uid, nobody.gid);
    linkSync(path("socket"), path("second"));
    expect(setOwner(path("socket"), wanted, user)).toContain(refused);
    rmSync(path("second"));
    symlinkSync("socket", path("link"));
    expect(setOwner(path("link"), wanted, user)).toContain(refused);
    // Content of that user's never becomes root's.
    writeFileSync(path("file"), "");
    chownSync(path("file"), nobody.uid, nobody.gid);
    expect(setOwner(path("file"), wanted, user)).toContain("its user could not do that");
    expect(setOwner(path("nothing"), wanted, user)).toBeUndefined();
    expect(setOwner(path("socket"), wanted, user)).toBeUndefined();
    // Without the bit that would lend out the owner's rights.
    expect(look(path("socket"))).toEqual([0o777, 0, users]);
  } finally {
    server.close();
    rmSync(dir, { recursive: true });
  }
});
