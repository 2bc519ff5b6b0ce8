// What a host gets, on a bare Debian 12: the Debian packages, the one program, the one file, npm's package; with a real VM
// that is listed and updated, completion in three shells, and the manual pages. None has a network but npm.

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
    expect(traces(one)).toBe("");
  }, 600_000);

  const traces = (one: BareDebian) =>
    ok(one, "find / -xdev -name '*cprkit*' ! -path '/root/*' ! -path '/proc/*' ! -path '/var/cache/man/*'");

  it("the Debian packages are as Debian's policy wants them", async () => {
    const one = await debian(`package/${deb}`, `package/${smallDeb}`);
    for (const file of [deb, smallDeb]) {
      const field = (name: string) => ok(one, `dpkg-deb --field ${file} ${name}`).trim();
      expect(field("Version")).toMatch(/^\d+\.\d+\.\d+$/);
      expect(field("Maintainer")).toMatch(/^[^<>]+ <\S+@\S+>$/);
      // A synopsis is no sentence, and does not begin with an article; each other line has a space before it.
      const [synopsis = "", ...rest] = field("Description").split("\n");
      expect(synopsis).toMatch(/^(?!(an?|the) )\S.{0,78}[^.]$/i);
      expect(rest.filter((line) => !/^ \S.{0,78}$/.test(line))).toEqual([]);
      // Nothing runs when it is installed.
      const control = ok(one, `dpkg-deb --ctrl-tarfile ${file} | tar -tf - | sort`);
      expect(control).toBe("./\n./control\n./md5sums\n");
      const rows = ok(one, `dpkg-deb --fsys-tarfile ${file} | tar --numeric-owner -tvf -`).trim().split("\n");
      expect(rows.length).toBeGreaterThan(20);
      const odd = rows.filter((row) => !/^(drwxr-xr-x|-rw-r--r--|-rwxr-xr-x|l\S{9}) 0\/0 /.test(row));
      expect(odd).toEqual([]);
      expect(rows.filter((row) => /^-rwx/.test(row)).map((row) => row.split(" ").at(-1))).toHaveLength(1);
      // Every file has its sum, and no other.
      const summed = ok(one, `dpkg-deb --ctrl-tarfile ${file} | tar -xOf - ./md5sums | cut -c35- | sort`).split("\n");
      const files = rows.flatMap((row) => (row.startsWith("-") ? [row.replace(/^.* \.\//, "")] : []));
      expect(summed.filter((name) => name !== "")).toEqual(files.sort());
      ok(one, `rm -rf x && dpkg-deb -x ${file} x`);
      const kilobytes = Number(
        ok(one, "find x -type f -printf '%s\\n' | awk '{ sum += $1 } END { print sum / 1024 }'"),
      );
      expect(Math.abs(Number(field("Installed-Size")) - kilobytes)).toBeLessThan(2);
      const doc = `x/usr/share/doc/${file.replace(/_.*/, "")}`;
      expect(ok(one, `zcat ${doc}/changelog.gz && cat ${doc}/copyright`)).toMatch(
        /Unreleased|\d\.\d[\s\S]*Apache License/,
      );
    }
  }, 300_000);

  it("it depends on all that its program loads, and on no newer C library than it says", async () => {
    const one = await debian(`package/${deb}`);
    ok(one, `dpkg --install ${deb}`);
    const depends = ok(one, `dpkg-query --show --showformat '\${Depends}' cprkit`);
    const native = ok(one, "find /usr/lib/cprkit -name '*.node'").trim().split("\n");
    expect(native).toHaveLength(1);
    const programs = ["/usr/lib/cprkit/cprkit", ...native];
    const loaded = ok(one, `ldd ${programs.join(" ")}`).matchAll(/=> (\/\S+)/g);
    const paths = [...new Set([...loaded].map(([, path = ""]) => path))];
    expect(paths.length).toBeGreaterThan(3);
    const owners = ok(
      one,
      `for each in ${paths.join(" ")}; do dpkg --search $each /usr$each 2>/dev/null || true; done`,
    );
    const packages = new Set([...owners.matchAll(/^([^:\s]+):/gm)].map(([, name = ""]) => name));
    expect(packages.size).toBeGreaterThan(1);
    expect(
      [...packages].filter((name) => !new RegExp(`\\b${name.replaceAll("+", "\\+")}(?![\\w.+-])`).test(depends)),
    ).toEqual([]);
    const wanted = /libc6 \(>= 2\.(\d+)\)/.exec(depends)?.[1];
    const needed = programs.map((path) => {
      const text = readFileSync(join(one.root, path), "latin1");
      return Math.max(...[...text.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor)));
    });
    expect(Math.max(...needed)).toBe(Number(wanted));
  }, 300_000);

  it("the Debian package over an older one, and one of the two in the other's place", async () => {
    const one = await debian(`package/${deb}`, `package/${smallDeb}`, state);
    one.addNode();
    ok(
      one,
      `dpkg-deb -R ${deb} older && sed -i 's/^Version: .*/Version: 0.0.1/' older/DEBIAN/control
      echo old >older/usr/lib/cprkit/of-the-old-one && dpkg-deb -Znone -b older older.deb && dpkg --install older.deb
      mkdir -p nodejs/DEBIAN && printf '%s\\n' 'Package: nodejs' 'Version: 20.19.0' 'Architecture: all' \
        'Maintainer: A <a@b.c>' 'Description: stands for the Node that is there' >nodejs/DEBIAN/control
      dpkg-deb -b nodejs nodejs.deb && dpkg --install nodejs.deb`,
    );
    const versions = `dpkg-query --show --showformat '\${Package} \${Version} \${db:Status-Status}\\n' 'cprkit*'`;
    const installed = () =>
      ok(one, versions)
        .split("\n")
        .filter((row) => row.endsWith(" installed"));
    expect(installed()).toEqual(["cprkit 0.0.1 installed"]);
    ok(one, `dpkg --install ${deb} && dpkg --audit && dpkg --verify cprkit`);
    expect(installed()).toEqual([expect.stringMatching(/^cprkit \d+\.[1-9]/)]);
    expect(ok(one, "ls /usr/lib/cprkit").split("\n")).toEqual(["cprkit", "koffi", ""]);
    ok(one, `dpkg --install ${smallDeb} && dpkg --audit && dpkg --verify cprkit-node`);
    expect(installed()).toEqual([expect.stringMatching(/^cprkit-node /)]);
    works(one, "cprkit");
    expect(ok(one, "ls -A /root/.cache 2>/dev/null || true")).toBe("");
    ok(one, `dpkg --install ${deb} && dpkg --verify cprkit`);
    expect(installed()).toEqual([expect.stringMatching(/^cprkit /)]);
    works(one, "cprkit");
    ok(one, "dpkg --purge cprkit nodejs");
    expect(ok(one, `${versions} 2>&1 || true`)).not.toContain(" installed");
    expect(traces(one)).toBe("");
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

  it.each([
    ["the one program", `package/cprkit-linux-${process.arch}`],
    ["the one file", "package/cprkit.cjs"],
  ])(
    "%s, where little is allowed",
    async (_, path) => {
      const one = await debian(path);
      if (path.endsWith(".cjs")) one.addNode();
      ok(
        one,
        `mkdir -p /opt/tools && cp ${path.replace("package/", "")} /opt/tools/vm && ln -s tools/vm /opt/cprkit-link`,
      );
      ok(
        one,
        "useradd --uid 1000 --create-home plain && mkdir -m 0700 -p /run/user/1000 && chown plain /run/user/1000",
      );
      const plain = "cd /home/plain && setpriv --reuid=1000 --regid=1000 --clear-groups env -i PATH=$PATH";
      const calls = "preflight --qmp /none.sock";
      const made = "no such socket (ENOENT)";
      const mounts = (home: string, tmp: string) =>
        `mount -t tmpfs -o ${home},mode=0755,uid=1000 none /home/plain && mount -t tmpfs -o ${tmp},mode=1777 none /tmp`;
      // By another name, through a link; HOME not set: the library is in the user's own home.
      expect(one.run(`${plain} /opt/tools/vm ${calls}`).stderr).toContain(made);
      expect(one.run(`${plain} /opt/tools/vm ${calls}`).stderr).toContain(made);
      expect(ok(one, "stat -c '%a %U' /home/plain/.cache/cprkit/koffi-*")).toBe("700 plain\n");
      // The home is read-only: nothing stays in /tmp.
      expect(one.run(`${mounts("ro", "exec")} && ${plain} /opt/tools/vm ${calls}; ls -A /tmp >&2`).stderr).toMatch(
        /no such socket \(ENOENT\)[^\n]*\n$/,
      );
      // Nor may anything in it be executed, nor in /tmp: only a folder of the user's session is left.
      const session = `${plain} XDG_RUNTIME_DIR=/run/user/1000 /opt/cprkit-link`;
      expect(one.run(`${mounts("noexec", "noexec")} && ${session} ${calls}`).stderr).toContain(made);
      // None at all: said in one line; what needs no system call goes on.
      const nowhere = one.run(`${mounts("noexec", "noexec")} && ${plain} /opt/tools/vm ${calls}; ls -A /tmp >&2`);
      expect(nowhere.stderr).toMatch(
        /^cprkit: [^\n]*failed to map segment[^\n]*; XDG_CACHE_HOME may name a folder [^\n]*\n$/,
      );
      expect(ok(one, `${mounts("noexec", "noexec")} && ${plain} /opt/tools/vm --version`)).toMatch(/^\d/);
      // Root in a user's folder, with that user's HOME, as sudo leaves it: nothing of the user's is loaded, nothing laid there.
      const planted = ["node_modules", ".node_modules", ".cache/node_modules"].map((name) => `/home/plain/${name}`);
      for (const folder of planted) {
        const at = `${folder}/@koromix/koffi-linux-${process.arch}`;
        ok(one, `mkdir -p ${at} && echo 'require("fs").writeFileSync("/root/planted", "")' >${at}/index.js`);
      }
      ok(one, "chown -R plain /home/plain && find /home/plain | sort >/root/before");
      expect(one.run(`cd /home/plain && HOME=/home/plain /opt/tools/vm ${calls}`).stderr).toContain(made);
      expect(ok(one, "find /home/plain | sort | diff /root/before - && ls /root/planted 2>&1 || true")).toContain(
        "No such file",
      );
      expect(ok(one, "stat -c '%a %U' /root/.cache/cprkit/koffi-*")).toBe("700 root\n");
    },
    300_000,
  );

  it("npm's package, from a tarball", async () => {
    const packed = execFileSync("npm", ["pack", "--ignore-scripts", "--silent"], { cwd: repoRoot, encoding: "utf8" });
    const tarball = packed.trim().split("\n").at(-1) as string;
    const one = await debian(tarball, state);
    execFileSync("rm", [join(repoRoot, tarball)]);
    one.addNode({ npm: true });
    ok(one, `npm install --global --no-audit --no-fund /root/${tarball}`, { env: registryOf(one), network: true });
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
