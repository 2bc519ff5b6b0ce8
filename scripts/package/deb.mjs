// Debian packages, made without Debian's tools: a .deb is an ar(5) archive of two tar files (deb(5)).

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { nodeLicense } from "./executable.mjs";
import { koffiFiles, root } from "./single.mjs";

const { version, homepage, author } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Debian's name of this machine's kind of processor. */
export const debianArch = { x64: "amd64", arm64: "arm64" }[process.arch] ?? process.arch;

/**
 * Writes a package.
 *
 * @param {string} file
 * @param {{ readonly name: string, readonly program: string, readonly depends: string, readonly bundlesNode: boolean }} of
 *   the package's name, the program that /usr/bin/cprkit is, and what it needs
 * @param {"xz" | "gz"} compression xz is smaller and takes a minute
 */
export function writeDeb(file, of, compression) {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-deb-"));
  try {
    const [data, control] = [join(folder, "data"), join(folder, "control")];
    lay(data, of);
    const files = readdirSync(data, { recursive: true, encoding: "utf8" })
      .filter((name) => statSync(join(data, name)).isFile() && name !== "usr/bin/cprkit")
      .sort();
    const size = files.reduce((sum, name) => sum + statSync(join(data, name)).size, 0);
    write(join(control, "md5sums"), files.map((name) => `${hash("md5", join(data, name))}  ${name}\n`).join(""));
    write(
      join(control, "control"),
      [
        `Package: ${of.name}`,
        `Version: ${version}`,
        `Architecture: ${debianArch}`,
        `Maintainer: ${author} <cprkit@invalid>`,
        `Installed-Size: ${Math.ceil(size / 1024)}`,
        `Depends: ${of.depends}`,
        // dpkg lets one take the other's place.
        ...(of.name === "cprkit" ? [] : ["Provides: cprkit"]),
        ...["Conflicts", "Replaces"].map((field) => `${field}: ${of.name === "cprkit" ? "cprkit-node" : "cprkit"}`),
        "Section: admin",
        "Priority: optional",
        `Homepage: ${homepage.replace(/#.*$/, "")}`,
        "Description: new QEMU under a running guest, by QEMU's CPR",
        " Replaces the QEMU of a running virtual machine by another version, with a",
        " rollback, and reads, compares and translates the states that QEMU saves.",
        ` ${of.bundlesNode ? "Brings its own Node.js along." : "Runs with the Node.js of the system."}`,
        "",
      ].join("\n"),
    );
    const members = [
      ["debian-binary", Buffer.from("2.0\n")],
      ["control.tar.gz", tar(control, "gz")],
      [`data.tar.${compression}`, tar(data, compression)],
    ];
    writeFileSync(
      file,
      Buffer.concat([Buffer.from("!<arch>\n"), ...members.flatMap(([name, bytes]) => member(name, bytes))]),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The package's files below `to`. */
function lay(to, { name, program, bundlesNode }) {
  const own = basename(program).replace(/^cprkit-.*/, "cprkit");
  copy(program, join(to, "usr/lib/cprkit", own), 0o755);
  mkdirSync(join(to, "usr/bin"), { recursive: true });
  symlinkSync(`../lib/cprkit/${own}`, join(to, "usr/bin/cprkit"));
  for (const [path, source] of koffiFiles(false)) copy(source, join(to, "usr/lib/cprkit/koffi", path), 0o644);
  for (const page of readdirSync(join(root, "man"))) {
    write(join(to, "usr/share/man/man1", `${page}.gz`), packed(readFileSync(join(root, "man", page))));
  }
  const completions = {
    bash: "usr/share/bash-completion/completions/cprkit",
    zsh: "usr/share/zsh/vendor-completions/_cprkit",
    fish: "usr/share/fish/vendor_completions.d/cprkit.fish",
  };
  for (const [shell, path] of Object.entries(completions)) {
    const { stdout, status } = spawnSync(process.execPath, ["bin/cprkit", "completion", shell], { cwd: root });
    if (status !== 0) throw new Error(`cprkit completion ${shell} failed`);
    write(join(to, path), stdout);
  }
  const doc = join(to, "usr/share/doc", name);
  copy(join(root, "README.md"), join(doc, "README.md"), 0o644);
  write(join(doc, "changelog.gz"), packed(readFileSync(join(root, "CHANGELOG.md"))));
  const licenses = [
    ["cprkit", join(root, "LICENSE")],
    ["What it is bundled with", join(root, "dist/cli/bundle/LICENSES.txt")],
    ["koffi", join(root, "node_modules/koffi/LICENSE.txt")],
    ["Node.js", bundlesNode ? nodeLicense() : undefined],
  ].filter(([, path]) => path !== undefined && existsSync(path));
  write(
    join(doc, "copyright"),
    licenses.map(([of, path]) => `${of}\n\n${readFileSync(path, "utf8").trim()}\n`).join(`\n${"-".repeat(72)}\n\n`),
  );
}

/**
 * Of root, in order, of one time, with modes that no umask has changed, in pieces of one size however many processors
 * there are: the same sources give the same bytes.
 */
function tar(folder, compression) {
  const words = [
    "--format=gnu",
    "--sort=name",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "--mode=u=rwX,go=rX",
    `--mtime=@${sourceDate()}`,
  ];
  const { stdout, status, stderr } = spawnSync("tar", ["-C", folder, ...words, "-cf", "-", "."], {
    maxBuffer: 2 ** 30,
  });
  if (status !== 0) throw new Error(`tar failed: ${stderr}`);
  if (compression === "gz") return packed(stdout);
  const xz = spawnSync("xz", ["-6", "-T2", "-c"], { input: stdout, maxBuffer: 2 ** 30 });
  if (xz.status !== 0) throw new Error(`xz failed: ${xz.stderr}`);
  return xz.stdout;
}

/** One file of an ar(5) archive: a head of 60 bytes, and an even length. */
function member(name, bytes) {
  const fields = [name.padEnd(16), String(sourceDate()).padEnd(12), "0".padEnd(6), "0".padEnd(6), "100644".padEnd(8)];
  const head = `${fields.join("")}${String(bytes.length).padEnd(10)}\`\n`;
  return [Buffer.from(head, "latin1"), bytes, Buffer.alloc(bytes.length % 2, "\n")];
}

/** Seconds since 1970. */
function sourceDate() {
  if (process.env.SOURCE_DATE_EPOCH !== undefined) return Number(process.env.SOURCE_DATE_EPOCH);
  const { stdout } = spawnSync("git", ["log", "-1", "--format=%ct"], { cwd: root, encoding: "utf8" });
  return /^\d+\n$/.test(stdout ?? "")
    ? Number(stdout)
    : Math.floor(statSync(join(root, "package.json")).mtimeMs / 1000);
}

function packed(bytes) {
  return gzipSync(bytes, { level: 9 });
}

function write(path, content) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  chmodSync(path, 0o644);
}

function copy(from, to, mode) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
  chmodSync(to, mode);
}

function hash(kind, path) {
  return createHash(kind).update(readFileSync(path)).digest("hex");
}
