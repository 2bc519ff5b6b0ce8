// What a host gets, on a bare Debian 12: the Debian packages, the one program, the one file, npm's package; with a real VM
// that is listed and updated, completion in three shells, and the manual pages.

import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BareDebian, type BareOptions, bareDebian, noBareDebian, registryOf } from "../support/bare-debian.ts";
import { cacheDir } from "../support/cache-dir.ts";
import { repoRoot } from "../support/cli.ts";

const why = noBareDebian();
if (why !== undefined) console.warn(`skipped: a bare Debian 12: ${why}`);

const state = "test/fixtures/cpr/q35-min-10.0.bin";
const qemus = join(cacheDir(), "qemu");
const old = join(qemus, "10.0/qemu-system-x86_64");
const next = join(qemus, "11.1/qemu-system-x86_64");
const hasQemu = existsSync(old) && existsSync(next);
if (!hasQemu) console.warn('skipped: a real VM in a bare Debian 12: run "npm run qemu"');

describe.skipIf(why !== undefined)("a bare Debian 12", () => {
  const made: BareDebian[] = [];
  let deb = "";
  let smallDeb = "";

  beforeAll(async () => {
    execFileSync(process.execPath, ["scripts/package/make.mjs", "deb", "--quick"], { cwd: repoRoot, stdio: "ignore" });
    const names = readdirSync(join(repoRoot, "package"));
    deb = names.find((name) => /^cprkit_.*\.deb$/.test(name)) as string;
    smallDeb = names.find((name) => /^cprkit-node_.*\.deb$/.test(name)) as string;
    // The first one is made from the network.
    (await bareDebian()).remove();
  }, 1_200_000);

  afterAll(() => {
    for (const each of made) each.remove();
  }, 300_000);

  /** A new one with these files of this machine in its /root. */
  async function debian(...files: string[]): Promise<BareDebian> {
    const one = await bareDebian();
    made.push(one);
    for (const file of files) copyFileSync(join(repoRoot, file), join(one.root, "root", file.replace(/.*\//, "")));
    return one;
  }

  /** Runs it, and expects that it does well. @returns what it prints */
  function ok({ run }: BareDebian, script: string, options?: BareOptions): string {
    const { status, stdout, stderr } = run(`set -e; cd /root; ${script}`, options);
    expect({ status, stderr: status === 0 ? "" : stderr, stdout: status === 0 ? "" : stdout }, script).toEqual({
      ...{ status: 0, stderr: "", stdout: "" },
    });
    return stdout;
  }

  const works = (one: BareDebian, program: string) => {
    expect(ok(one, `${program} --version`)).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(ok(one, `${program} inspect q35-min-10.0.bin`)).toContain("/rom@etc/acpi/rsdp");
    expect(ok(one, `${program} list`)).toBe("no QEMU runs here\n");
    const demo = JSON.parse(ok(one, `${program} demo --no-vm --fds 200 --json`));
    expect(demo.handOver).toMatchObject({ fds: 200, same: 200, leaked: { old: 0, new: 0 } });
    // As a user without a home, too.
    const nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/nonexistent";
    const { stderr } = one.run(`cd /tmp && ${nobody} ${program} preflight --qmp /tmp/none.sock`);
    expect(stderr).toContain("no such socket (ENOENT)");
    expect(ok(one, "ls -A /tmp")).toBe("");
  };

  it("the Debian package: installed without a network, used, and removed without a trace", async () => {
    const one = await debian(`package/${deb}`, state);
    ok(one, `dpkg --install ${deb} && dpkg --audit && dpkg --verify cprkit`);
    works(one, "cprkit");
    // Nothing had to be laid anywhere else.
    expect(ok(one, "ls -A /root/.cache 2>/dev/null || true")).toBe("");

    expect(ok(one, "man cprkit | cat")).toContain("COMMANDS");
    expect(ok(one, "man cprkit-update | cat")).toContain("--state-dir <folder>");
    expect(ok(one, "man -k cprkit")).toMatch(/^cprkit-list \(1\) +- say which VMs run here/m);

    // bash, by the package bash-completion; zsh in a terminal of its own; fish by its own command.
    const bash = `source /usr/share/bash-completion/bash_completion; _completion_loader cprkit
      COMP_WORDS=(cprkit update --mode cpr-r) COMP_CWORD=3; _cprkit; echo "$COMPREPLY"`;
    expect(ok(one, `bash -c '${bash}'`)).toBe("cpr-reboot\n");
    expect(zshOffers(one, "cprkit up")).toContain("update");
    expect(zshOffers(one, "cprkit update --mode cpr-")).toEqual(
      expect.arrayContaining(["cpr-transfer", "cpr-exec", "cpr-reboot"]),
    );
    expect(zshOffers(one, "cprkit update --max-b")).toContain("--max-bandwidth");
    expect(zshOffers(one, "cprkit inspect q35")).toContain("q35-min-10.0.bin");
    const fish = (line: string) => ok(one, `fish -c 'complete -C "${line}"'`);
    expect(fish("cprkit up")).toMatch(/^update\t/);
    expect(fish("cprkit update --mode cpr-t")).toMatch(/^cpr-transfer/);
    expect(fish("cprkit update --max-b")).toMatch(/^--max-bandwidth\t/);
    expect(fish("cprkit inspect q35")).toMatch(/^q35-min-10\.0\.bin/);

    ok(one, "dpkg --purge cprkit");
    expect(
      ok(one, "find / -xdev -name '*cprkit*' ! -path '/root/*' ! -path '/proc/*' ! -path '/var/cache/man/*'"),
    ).toBe("");
  }, 600_000);

  /** What a TAB shows behind a line, in a real terminal. */
  function zshOffers(one: BareDebian, line: string): string[] {
    const script = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT=; unset zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; zstyle ':completion:*' list-colors ''; zstyle ':completion:*' menu no; LISTMAX=1000; setopt nolistambiguous autolist; stty columns 200; echo READY-NOW"
local out= part=
while [[ $out != *READY-NOW*READY-NOW* ]]; do zpty -r z part || break; out+=$part; done
out=
zpty -n -w z "${line}"$'\\t\\t'
local end=$((SECONDS + 8))
while ((SECONDS < end)); do if zpty -r -t z part; then out+=$part; else sleep 0.1; fi; done
print -r -- "$out"
zpty -d z
`;
    const shown = ok(one, `cat > /tmp/offers.zsh <<'END'\n${script}\nEND\nzsh -f /tmp/offers.zsh; rm /tmp/offers.zsh`);
    // Without what moves the cursor.
    const parts = shown.split("\u001b").map((part) => part.replace(/^\[[0-9;?]*[A-Za-z]/, " "));
    return parts.join("").split(/\s+/);
  }

  it.skipIf(!hasQemu)(
    "a real VM in there is listed, and updated, by the Debian package",
    async () => {
      const one = await debian(`package/${deb}`);
      ok(one, `dpkg --install ${deb}`);
      const start = `${old} -name bare -machine pc-q35-10.0,aux-ram-share=on,memory-backend=ram -accel tcg -nodefaults \
      -object memory-backend-memfd,id=ram,size=32M,share=on -display none -qmp unix:/root/qmp.sock,server=on,wait=off \
      </dev/null >/root/log 2>&1 & while [ ! -S /root/qmp.sock ]; do sleep 0.1; done`;
      const script = `${start}; cprkit list --json --qemu ${next}; cprkit update --qmp /root/qmp.sock --qemu ${next} --json
      cprkit list --json --quick`;
      const [before, report, after] = ok(one, script, { mount: [qemus] })
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(before.vms).toEqual([
        expect.objectContaining({ name: "bare", user: "root", machine: "pc-q35-10.0", mode: "cpr-transfer" }),
      ]);
      expect(report).toMatchObject({ outcome: "updated", mode: "cpr-transfer" });
      expect(after.vms).toEqual([expect.objectContaining({ name: "bare", version: expect.stringMatching(/^11\.1/) })]);
    },
    300_000,
  );

  it("the one program, with nothing else", async () => {
    const program = `package/cprkit-linux-${process.arch}`;
    const one = await debian(program, state);
    // A user without rights can't look into /root.
    ok(one, `cp ${program.replace("package/", "")} /opt/cprkit`);
    works(one, "/opt/cprkit");
  }, 300_000);

  it("the one file, with nothing but Node; Debian 12's own Node is too old for the small package, which says so", async () => {
    const one = await debian("package/cprkit.cjs", `package/${smallDeb}`, state);
    one.addNode();
    ok(one, "cp cprkit.cjs /opt/cprkit");
    works(one, "/opt/cprkit");
    const { status, stderr } = one.run(`dpkg --install /root/${smallDeb}`);
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining("nodejs (>= 20.19)") });
  }, 300_000);

  it("npm's package, from a tarball", async () => {
    const packed = execFileSync("npm", ["pack", "--ignore-scripts", "--silent"], { cwd: repoRoot, encoding: "utf8" });
    const tarball = packed.trim().split("\n").at(-1) as string;
    const one = await debian(tarball, state);
    execFileSync("rm", [join(repoRoot, tarball)]);
    one.addNode({ npm: true });
    ok(one, `npm install --global --no-audit --no-fund /root/${tarball}`, { env: registryOf(one) });
    works(one, "cprkit");
    expect(ok(one, "man cprkit-list | cat")).toContain("which VMs run here");
    expect(ok(one, "cprkit completion bash | bash -n && cprkit man update | man -l - | cat")).toContain("--state-dir");
  }, 300_000);

  it("has no Node, npm or compiler by itself", async () => {
    const one = await debian();
    expect(readFileSync(join(one.root, "etc/debian_version"), "utf8")).toMatch(/^12\./);
    const { stdout } = one.run("for each in node npm cc gcc make; do command -v $each; done");
    expect(stdout).toBe("");
  }, 120_000);
});
