// What an update writes down, and whom it believes: state folders, journals and locks that another user made, or that
// are damaged. Each of these was followed once.
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { processIdentity } from "../../src/linux/index.ts";
import { checkedFolder, readOwnFile } from "../../src/qemu/update/record/checked-folder.ts";
import {
  bootId,
  type Journal,
  listJournals,
  readJournal,
  removeOldLogs,
  writeJournal,
} from "../../src/qemu/update/record/journal.ts";
import { takeLock, takeProcessLock } from "../../src/qemu/update/record/lock.ts";
import { stateBase, vmFolder } from "../../src/qemu/vm/state-dir.ts";
import { repoRoot } from "../support/cli.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { isRoot, nobody, readableRepo } from "../support/other-user.ts";
import { killAllVms, privateDir } from "../support/vm.ts";

afterAll(killAllVms);

/** A second user without rights. */
const daemon = { uid: 65533, gid: 65533 };

function cprkit(args: readonly string[], options: { uid?: number; gid?: number; repo?: string } = {}) {
  const { repo = repoRoot, ...user } = options;
  const env = { PATH: process.env["PATH"] ?? "" };
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(repo, "bin/cprkit"), ...args], {
    ...user,
    cwd: "/",
    env,
    encoding: "utf8",
    timeout: 30_000,
    killSignal: "SIGKILL",
  });
  return { status, stdout, stderr, ms: performance.now() - started };
}

interface Place {
  readonly dir: string;
  readonly base: string;
  readonly folder: string;
  readonly qmp: string;
}

function place(): Place {
  const dir = privateDir();
  const [base, qmp] = [join(dir, "state"), join(dir, "q.sock")];
  const folder = vmFolder(base, qmp);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return { dir, base, folder, qmp };
}

/** Of an update whose QEMUs are both gone. */
function journalOf({ folder, qmp }: Place, changes: Partial<Journal> = {}): Journal {
  return {
    version: 1,
    id: "abc123",
    startedAt: "2025-01-01T00:00:00.000Z",
    bootId: bootId(),
    mode: "cpr-transfer",
    step: "started",
    source: { pid: 4_194_000, startTime: "1", qmp, version: "10.0.2" },
    runState: "running",
    returnPath: true,
    settings: { mode: "normal", capabilities: {} },
    moved: [],
    publicQmp: qmp,
    files: [],
    log: join(folder, "abc123.log"),
    vfio: false,
    request: { mode: "cpr-transfer", allow: [], timeoutMs: 1_000 },
    ...changes,
  };
}

it("a folder that others can write to is not a state folder, nor one below it", () => {
  const dir = privateDir();
  const open = join(dir, "open");
  mkdirSync(open);
  chmodSync(open, 0o777);
  const wayOut = /not used as a state folder: .*open: its mode 777 lets other users write there; choose .*--state-dir/;
  expect(() => checkedFolder(open, { make: true })).toThrow(wayOut);
  expect(() => checkedFolder(join(open, "below"), { make: true })).toThrow(wayOut);
  expect(existsSync(join(open, "below"))).toBe(false);
  // As in /tmp: at the end no, on the way yes, for nobody else can move what is this user's own.
  chmodSync(open, 0o1777);
  expect(() => checkedFolder(open, { make: true })).toThrow(/its mode 1777/);
  expect(checkedFolder(join(open, "below"), { make: true })).toBe(join(open, "below"));
  expect(statSync(join(open, "below")).mode & 0o777).toBe(0o700);
  symlinkSync("below", join(open, "link"));
  expect(checkedFolder(join(open, "link"), { make: false })).toBe(join(open, "below"));
  symlinkSync("loop", join(open, "loop"));
  expect(() => checkedFolder(join(open, "loop"), { make: true })).toThrow(/too many links/);
  expect(checkedFolder(join(dir, "absent"), { make: false })).toBeUndefined();
});

it.runIf(isRoot)("a folder, a link, a file of another user is not followed or believed", () => {
  const dir = privateDir();
  const theirs = join(dir, "theirs");
  mkdirSync(theirs);
  writeFileSync(join(dir, "file"), "{}");
  symlinkSync(dir, join(dir, "link"));
  chownSync(theirs, nobody.uid, nobody.gid);
  chownSync(join(dir, "file"), nobody.uid, nobody.gid);
  spawnSync("chown", ["-h", `${nobody.uid}`, join(dir, "link")]);
  expect(() => checkedFolder(join(theirs, "x"), { make: true })).toThrow(/theirs: it belongs to uid 65534/);
  expect(() => checkedFolder(join(dir, "link/x"), { make: true })).toThrow(/link: it belongs to uid 65534/);
  expect(() => readOwnFile(join(dir, "file"))).toThrow(/it belongs to uid 65534/);
});

it.runIf(isRoot)("root does nothing of what another user's journal says", () => {
  const at = place();
  chmodSync(at.dir, 0o755);
  const victim = join(at.dir, "victim");
  writeFileSync(victim, "root's");
  const journal = journalOf(at, {
    files: [victim],
    moved: [{ kind: "pidfile", public: `${victim}2`, old: victim, new: victim }],
  });
  writeFileSync(join(at.folder, "journal.json"), JSON.stringify(journal));
  for (const path of [join(at.folder, "journal.json"), at.folder, at.base]) chownSync(path, nobody.uid, nobody.gid);
  for (const args of [
    ["status"],
    ["status", "--qmp", at.qmp],
    ["update", "--abort", "--qmp", at.qmp],
    ["update", "--resume", "--qmp", at.qmp],
  ]) {
    const result = cprkit([...args, "--state-dir", at.base]);
    expect(result.stderr).toContain("it belongs to uid 65534");
    expect(result.status).not.toBe(0);
  }
  expect(readFileSync(victim, "utf8")).toBe("root's");
});

it.runIf(isRoot)("--resume does not start a program that another user may have replaced since", () => {
  const at = place();
  chmodSync(at.dir, 0o755);
  const [theirs, ours] = [join(at.dir, "theirs"), join(at.dir, "ours")];
  for (const dir of [theirs, ours]) {
    mkdirSync(dir, { mode: 0o755 });
    writeFileSync(join(dir, "qemu"), "", { mode: 0o755 });
  }
  chownSync(theirs, nobody.uid, nobody.gid);
  symlinkSync(join(theirs, "qemu"), join(ours, "link"));
  chmodSync(join(ours, "qemu"), 0o777);
  const resume = (request: Partial<Journal["request"]>, owner: Journal["owner"]) => {
    const journal = journalOf(at, { owner });
    writeJournal(at.folder, { ...journal, request: { ...journal.request, ...request } });
    return cprkit(["update", "--resume", "--qmp", at.qmp, "--state-dir", at.base]);
  };
  const root = { uid: 0, gid: 0, groups: [] };
  for (const program of [join(theirs, "qemu"), join(ours, "qemu"), join(ours, "link")]) {
    const stderr = expect.stringMatching(
      /may have been replaced by another user \(.*take the update back with .*--abort/,
    );
    expect(resume({ qemu: program }, root)).toMatchObject({ status: 4, stderr });
    expect(resume({ command: [program, "-M", "q35"] }, root)).toMatchObject({ status: 4, stderr });
  }
  // Of that user's own QEMU it is that user's choice; what is gone can't be started.
  const lost = expect.stringContaining("lost: no QEMU runs the guest");
  expect(resume({ qemu: join(theirs, "qemu") }, { ...nobody, groups: [] })).toMatchObject({ stdout: lost });
  expect(resume({ qemu: join(ours, "absent") }, root)).toMatchObject({ stdout: lost });
});

it.runIf(isRoot)("a plain user does not believe another plain user's journal either, and its own it does", () => {
  const repo = readableRepo();
  const at = place();
  chmodSync(at.dir, 0o1777);
  writeFileSync(join(at.folder, "journal.json"), JSON.stringify(journalOf(at)));
  const give = ({ uid, gid }: typeof nobody) => {
    for (const path of [join(at.folder, "journal.json"), at.folder, at.base]) chownSync(path, uid, gid);
  };
  give(daemon);
  chmodSync(at.base, 0o755);
  const abort = ["update", "--abort", "--qmp", at.qmp, "--state-dir", at.base];
  const refused = cprkit(abort, { ...nobody, repo });
  expect(refused.stderr).toContain(`state: it belongs to uid ${daemon.uid}`);
  expect(refused.status).not.toBe(0);
  give(nobody);
  const own = cprkit(abort, { ...nobody, repo });
  expect(own.stdout).toContain("lost: no QEMU runs the guest");
});

it("what a journal names is this VM's, or the journal is not followed", () => {
  const at = place();
  const elsewhere = join(at.dir, "victim");
  writeFileSync(elsewhere, "kept");
  const moved = (changes: object) => [
    { kind: "socket" as const, public: at.qmp, old: at.qmp, new: `${at.qmp}.cpr1`, ...changes },
  ];
  const cases: Partial<Journal>[] = [
    { files: [elsewhere] },
    { files: [join(at.folder, "../victim")] },
    { files: [`${at.folder}/../../victim`] },
    { stateFile: elsewhere },
    { log: elsewhere },
    { moved: moved({ new: elsewhere }) },
    { moved: moved({ public: elsewhere }) },
    { moved: moved({ new: at.qmp }) },
    { publicQmp: elsewhere },
  ];
  for (const changes of cases) {
    writeJournal(at.folder, journalOf(at, changes));
    expect(() => readJournal(at.folder), JSON.stringify(changes)).toThrow(/names .*which is not of this VM/);
    expect(cprkit(["update", "--abort", "--qmp", at.qmp, "--state-dir", at.base]).status).not.toBe(0);
  }
  writeJournal(at.folder, journalOf(at, { moved: moved({}), files: [join(at.folder, "abc123.t")] }));
  expect(readJournal(at.folder)?.id).toBe("abc123");
  expect(readFileSync(elsewhere, "utf8")).toBe("kept");
});

it("a link in the place of the journal's draft is not written through", () => {
  const at = place();
  const victim = join(at.dir, "victim");
  writeFileSync(victim, "kept");
  symlinkSync(victim, join(at.folder, "journal.json.new"));
  writeJournal(at.folder, journalOf(at));
  expect(readFileSync(victim, "utf8")).toBe("kept");
  expect(statSync(join(at.folder, "journal.json")).mode & 0o777).toBe(0o600);
  const other = place();
  symlinkSync(join(at.folder, "journal.json"), join(other.folder, "journal.json"));
  expect(() => readJournal(other.folder)).toThrow(/it is a link/);
});

it("a process that the update did not start is not ended, whatever the journal says", () => {
  const at = place();
  const { pid, startTime } = processIdentity("self");
  const destination = { pid, startTime: String(startTime), qmp: `${at.qmp}.cpr1`, version: "10.0.2" };
  writeJournal(at.folder, journalOf(at, { destination }));
  const result = cprkit(["update", "--abort", "--qmp", at.qmp, "--state-dir", at.base]);
  expect(result).toMatchObject({ status: 4, stderr: expect.stringContaining("was not started by this update") });
});

it("a lock that can't be read is an error at once", () => {
  for (const spoil of [
    (path: string) => mkdirSync(path),
    (path: string) => symlinkSync("/nowhere/x", path),
    (path: string) => spawnSync("mkfifo", [path]),
  ]) {
    const { folder } = place();
    spoil(join(folder, "lock"));
    expect(() => takeLock(folder)).toThrow(/the lock of this VM can't be taken: .*lock.*look at it, then remove it/);
    expect(readdirSync(folder)).toEqual(["lock"]);
  }
});

it("what a killed process left of a lock goes with the next one", () => {
  const { folder } = place();
  for (const name of ["lock.4194000", "lock.stale.4194000"]) writeFileSync(join(folder, name), "4194000 1\n");
  takeLock(folder)();
  expect(readdirSync(folder)).toEqual([]);
});

it("a QEMU is one lock, whichever monitor or state folder an update is given", async () => {
  const child = spawn("sleep", ["1000"], { stdio: "ignore" });
  const identity = processIdentity(child.pid);
  await expectNoFdLeak(() => {
    const unlock = takeProcessLock(identity);
    expect(() => takeProcessLock(identity)).toThrow(`process ${process.pid} is updating this VM`);
    unlock();
    takeProcessLock(identity)();
    const later = { ...identity, startTime: identity.startTime + 1n };
    expect(() => takeProcessLock(later)).toThrow(/process \d+ has ended/);
  });
  child.kill("SIGKILL");
});

it("status tells of a journal that it can't read, with the way out, and of one of a later version", () => {
  const at = place();
  const text = JSON.stringify(journalOf(at));
  for (const spoilt of ["", text.slice(0, 100), text.replace('"version":1', '"version":2')]) {
    writeFileSync(join(at.folder, "journal.json"), spoilt, { mode: 0o600 });
    expect(listJournals(at.base).problems).toHaveLength(1);
    for (const args of [["status"], ["status", "--json"]]) {
      const result = cprkit([...args, "--state-dir", at.base]);
      const wayOut = expect.stringMatching(/not a journal.*then remove .*journal/);
      expect(result).toMatchObject({ status: 1, stderr: wayOut });
      if (args.length > 1) {
        expect(JSON.parse(result.stdout)).toEqual({ vms: [], problems: [{ folder: at.folder, text: wayOut }] });
      }
    }
    const one = cprkit(["update", "--abort", "--qmp", at.qmp, "--state-dir", at.base]);
    expect(one.stderr).toContain("not a journal");
    expect(one.status).not.toBe(0);
  }
});

it("status says once that a VM was shut down since its update, and forgets it", () => {
  const at = place();
  writeJournal(at.folder, journalOf(at, { outcome: "updated", step: "done" }));
  const status = () => cprkit(["status", "--state-dir", at.base]);
  expect(status()).toMatchObject({ status: 0, stdout: expect.stringContaining("has been shut down since") });
  expect(status()).toMatchObject({ status: 0, stdout: expect.stringContaining("has not updated a VM") });
  writeJournal(at.folder, journalOf(at));
  for (let i = 0; i < 2; i++)
    expect(status()).toMatchObject({ status: 1, stdout: expect.stringContaining("stopped at") });
});

it("--abort of an old journal does not call a guest lost that runs in a QEMU started since", async () => {
  const at = place();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(at.qmp, resolve));
  try {
    writeJournal(at.folder, journalOf(at));
    const result = cprkit(["update", "--abort", "--qmp", at.qmp, "--state-dir", at.base]);
    const served = expect.stringMatching(new RegExp(`^outdated: .*process ${process.pid}, started since, serves`));
    expect(result).toMatchObject({ status: 1, stdout: served });
    expect(existsSync(join(at.folder, "journal.json"))).toBe(false);
  } finally {
    server.close();
  }
});

it("pids of before a restart of the machine are nobody's", () => {
  const at = place();
  const { pid, startTime } = processIdentity("self");
  const source = { pid, startTime: String(startTime), qmp: at.qmp, version: "10.0.2" };
  writeJournal(at.folder, journalOf(at, { bootId: "another", source }));
  const result = cprkit(["update", "--abort", "--qmp", at.qmp, "--state-dir", at.base]);
  expect(result).toMatchObject({ status: 1, stdout: expect.stringContaining("the machine was restarted since") });
});

it("only the last few logs are kept", () => {
  const { folder } = place();
  for (let i = 0; i < 8; i++) {
    writeFileSync(join(folder, `${i}.log`), "");
    utimesSync(join(folder, `${i}.log`), i, i);
  }
  removeOldLogs(folder);
  expect(readdirSync(folder).sort()).toEqual(["3.log", "4.log", "5.log", "6.log", "7.log"]);
});

it.runIf(isRoot)("root does not use the runtime folder of the user that it was before sudo", () => {
  const dir = privateDir();
  const before = process.env["XDG_RUNTIME_DIR"];
  process.env["XDG_RUNTIME_DIR"] = dir;
  try {
    expect(stateBase(undefined, undefined)).toBe(join(dir, "cprkit"));
    chownSync(dir, nobody.uid, nobody.gid);
    expect(stateBase(undefined, undefined)).toBe("/run/cprkit");
  } finally {
    if (before === undefined) delete process.env["XDG_RUNTIME_DIR"];
    else process.env["XDG_RUNTIME_DIR"] = before;
  }
});

it("a second update says who works at the VM, before it looks at the monitor", () => {
  const at = place();
  const unlock = takeLock(at.folder);
  const result = cprkit(["update", "--qmp", at.qmp, "--state-dir", at.base]);
  expect(result).toMatchObject({
    status: 4,
    stderr: expect.stringContaining(`process ${process.pid} is updating this VM`),
  });
  unlock();
});

it("--allow takes the codes that there are, and names those that are near", () => {
  const allow = (code: string) => cprkit(["update", "--qmp", "/nowhere/q.sock", "--allow", code]);
  expect(allow("memory-lo")).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("did you mean memory-low"),
  });
  expect(allow("qqqqqqqq")).toMatchObject({ status: 2, stderr: expect.stringContaining("docs/preflight.md") });
  for (const code of ["memory-low", "cgroup"]) expect(allow(code).status).toBe(4);
});

it.skipIf(spawnSync("strace", ["-V"]).error !== undefined)(
  "ends also when the disk of its output fails [needs strace]",
  () => {
    const at = place();
    writeJournal(at.folder, journalOf(at));
    const words = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO"];
    // Not the time-out of spawnSync: it would end strace alone.
    const limit = ["timeout", "-s", "KILL", "20"];
    const command = [...limit, process.execPath, join(repoRoot, "bin/cprkit"), "update", "--abort", "--qmp", at.qmp];
    const { signal, status, stderr } = spawnSync("strace", [...words, ...command, "--state-dir", at.base], {
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect({ signal, status }).toEqual({ signal: null, status: 4 });
  },
);
