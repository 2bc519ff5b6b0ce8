// cprkit doctor: each thing that can hinder is made to, and is named with a remedy.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { HostFact } from "../../src/qemu/host/fact.ts";
import { cprkit, repoRoot } from "../support/cli.ts";
import { expectSchema } from "../support/json-schema.ts";
import { isRoot } from "../support/other-user.ts";
import { describeQemu } from "../support/qemu.ts";
import { killAllVms, privateDir } from "../support/vm.ts";

afterAll(killAllVms);

interface Report {
  readonly facts: readonly HostFact[];
  readonly ok: boolean;
}

/** Runs it behind other words, such as prlimit's. */
function doctor(before: readonly string[], env: NodeJS.ProcessEnv = {}, words: readonly string[] = []) {
  const [program = "", ...args] = [...before, process.execPath, "bin/cprkit", "doctor", "--json", ...words];
  const { status, stdout, stderr } = spawnSync(program, args, {
    ...{ cwd: repoRoot, encoding: "utf8", timeout: 60_000 },
    env: { ...process.env, ...env },
  });
  expect(stderr).toBe("");
  const report = JSON.parse(expectedJson(stdout)) as Report;
  expect(status).toBe(report.ok ? 0 : 1);
  return report;
}

function expectedJson(stdout: string): string {
  expectSchema("doctor", stdout);
  return stdout;
}

const of = ({ facts }: Report, subject: string) => facts.filter((fact) => fact.subject === subject);

it("a low limit, missing programs and folders that can't be used hinder, each with a remedy", () => {
  const cache = privateDir();
  mkdirSync(join(cache, "cprkit"));
  chmodSync(join(cache, "cprkit"), 0o777);
  const broken = doctor(["/usr/bin/prlimit", "--nofile=64:64"], {
    ...{ PATH: "/nothing", XDG_CACHE_HOME: cache },
    // It is this user's, and nobody can make anything in it.
    XDG_RUNTIME_DIR: "/proc/self",
  });
  expect(of(broken, "nofile")).toEqual([expect.objectContaining({ state: "hinders" })]);
  const [programs] = of(broken, "programs");
  expect(programs).toMatchObject({ state: "hinders", remedy: expect.stringContaining("util-linux") });
  for (const name of ["prlimit", "setpriv", "nsenter", "sh"]) expect(programs?.text).toContain(`${name} can't be run`);
  expect(of(broken, "state")).toEqual([expect.objectContaining({ state: "hinders" })]);
  expect(of(broken, "cache")).toEqual([expect.objectContaining({ state: "note" })]);
  for (const { state, remedy } of broken.facts) if (state === "hinders") expect(remedy).toMatch(/\S/);
  const fine = cprkit(["doctor", "--json"], { env: { XDG_CACHE_HOME: privateDir() } });
  const states = (report: Report) =>
    ["nofile", "programs", "cache"].map((subject) => of(report, subject).map(({ state }) => state));
  expect(states(JSON.parse(fine.stdout))).toEqual([["fine"], ["fine"], ["fine"]]);
});

it("a seccomp filter that refuses pidfd_getfd is found by the call, and as a confinement", () => {
  // struct sock_filter: code, jt, jf, k. Loads the call's number; EPERM for pidfd_getfd, else allowed (seccomp(2)).
  const script = `
    const { createRequire } = await import("node:module");
    const koffi = createRequire(${JSON.stringify(join(repoRoot, "package.json"))})("koffi");
    const { examineHost } = await import(${JSON.stringify(join(repoRoot, "dist/qemu/host/examine.js"))});
    const filter = Buffer.alloc(32);
    [[0x20, 0, 0, 0], [0x15, 0, 1, 438], [0x06, 0, 0, 0x00050001], [0x06, 0, 0, 0x7fff0000]].forEach(([code, jt, jf, k], at) => {
      filter.writeUInt16LE(code, at * 8);
      filter.writeUInt8(jt, at * 8 + 2);
      filter.writeUInt8(jf, at * 8 + 3);
      filter.writeUInt32LE(k, at * 8 + 4);
    });
    const program = Buffer.alloc(16);
    program.writeUInt16LE(4, 0);
    program.writeBigUInt64LE(BigInt(koffi.address(filter)), 8);
    const prctl = koffi.load(null).func("int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)");
    if (prctl(38, 1, 0, 0, 0) !== 0) throw new Error("no_new_privs");
    if (prctl(22, 2, BigInt(koffi.address(program)), 0, 0) !== 0) throw new Error("seccomp");
    console.log(JSON.stringify({ facts: await examineHost(), ok: false }));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  expect(stderr).toBe("");
  const report = JSON.parse(stdout) as Report;
  expect(of(report, "taking-fds")).toEqual([
    expect.objectContaining({ state: "hinders", text: expect.stringContaining("may not trace") }),
  ]);
  expect(of(report, "confinement")).toEqual([
    expect.objectContaining({ state: "hinders", text: expect.stringMatching(/1 seccomp filter|seccomp filters/) }),
  ]);
  // The calls that are not refused are not blamed.
  expect(of(report, "kernel")).toEqual([expect.objectContaining({ state: "fine" })]);
});

if (!isRoot) console.warn("skipped: doctor in namespaces: only root can make them everywhere");
it.skipIf(!isRoot)("in a user namespace of its own, other users' VMs are out of reach [needs root]", () => {
  const report = doctor(["unshare", "--user", "--map-root-user"]);
  expect(of(report, "namespaces")).toEqual([
    expect.objectContaining({ state: "hinders", remedy: expect.stringContaining("on the host") }),
  ]);
});

const hasKvm = existsSync("/dev/kvm");
if (!hasKvm) console.warn("skipped: doctor with something else at /dev/kvm: there is no /dev/kvm here");
it.skipIf(!isRoot || !hasKvm)("what is at /dev/kvm is asked, not only looked at [needs root and /dev/kvm]", () => {
  const report = doctor(["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /dev/kvm && exec "$@"', "sh"]);
  expect(of(report, "kvm")).toEqual([expect.objectContaining({ state: "hinders" })]);
});

it("a QEMU that another user could have changed is not started", () => {
  const folder = privateDir();
  const mark = join(folder, "started");
  const program = (name: string) => {
    const path = join(folder, name);
    writeFileSync(path, `#!/bin/sh\ntouch '${mark}'\nexit 1\n`, { mode: 0o755 });
    return path;
  };
  const open = program("open");
  chmodSync(open, 0o757);
  mkdirSync(join(folder, "everybodys"));
  const inside = program("everybodys/qemu");
  chmodSync(join(folder, "everybodys"), 0o777);
  const link = join(folder, "link");
  symlinkSync(inside, link);
  const report = doctor([], {}, ["--qemu", open, inside, link]);
  expect(existsSync(mark)).toBe(false);
  const texts = of(report, "qemu").map(({ text }) => text);
  expect(texts.filter((text) => /was not asked: everybody, by the mode of/.test(text))).toHaveLength(2);
  // One that is ours alone is, and its answer is not one of a QEMU.
  const own = program("own");
  expect(
    of(doctor([], {}, ["--qemu", own]), "qemu")
      .map(({ text }) => text)
      .join(),
  ).toContain(`${own} gives no answer`);
  expect(existsSync(mark)).toBe(true);
});

describeQemu("cprkit doctor", ["10.0", "11.1"], (qemu) => {
  it("says which QEMUs are there and what they can do, asked of them", () => {
    const report = doctor([], {}, ["--qemu", qemu["10.0"], qemu["11.1"]]);
    const text = of(report, "qemu")
      .map((fact) => fact.text)
      .join("\n");
    expect(text).toMatch(/is QEMU 10\.0\.\d+: cpr-transfer, cpr-reboot$/m);
    expect(text).toMatch(/is QEMU 11\.1\.\d+: cpr-transfer, cpr-exec, cpr-reboot$/m);
    expect(of(report, "qemu").map(({ state }) => state)).not.toContain("hinders");
    const shown = cprkit(["doctor", "--qemu", qemu["11.1"]]);
    expect(shown.stdout).toMatch(
      new RegExp(`^fine {5}node {9}Node ${process.versions.node.replaceAll(".", "\\.")}$`, "m"),
    );
    expect(shown.stdout).toContain(`Linux`);
    expect(shown.stdout).toContain(arch());
    expect(shown.stdout).toMatch(/hinders? updates\.\n$/);
  });
});
