// The QEMU binaries of this host: each is started for a moment and asked, unless somebody else could have changed it.

import { accessSync, constants, lstatSync, readdirSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { isCprkitError } from "../../vmstate/error.ts";
import { versionText } from "../vm/binary.ts";
import { probeBinary } from "../vm/probe.ts";
import { fine, type HostFact, hinders, note } from "./fact.ts";

/** Where packages and people put them, besides PATH. */
const places = ["/usr/bin", "/usr/local/bin", "/usr/libexec", "/opt"];

/**
 * A line for each binary, and one more if none of them can take a VM over.
 *
 * @param more paths of others, such as those of running VMs
 * @throws CprkitError ERR_ABORTED
 */
export async function binaryFacts(more: readonly string[], signal: AbortSignal | undefined): Promise<HostFact[]> {
  const facts: HostFact[] = [];
  let canTakeOver = false;
  for (const path of findBinaries(more)) {
    const stranger = whoElseMayChange(path);
    if (stranger !== undefined) {
      facts.push(note("qemu", `${path} was not asked: ${stranger} could have changed it`));
      continue;
    }
    try {
      const { abilities, auxRamShare } = await probeBinary([path], { signal, timeoutMs: 10_000 });
      const { modes } = abilities;
      canTakeOver ||= auxRamShare && modes.length > 0;
      const what = modes.length === 0 ? "it does not know CPR" : modes.join(", ");
      facts.push(
        (modes.length > 0 ? fine : note)("qemu", `${path} is QEMU ${versionText(abilities.version)}: ${what}`),
      );
    } catch (error) {
      if (!isCprkitError(error) || error.code === "ERR_ABORTED") throw error;
      facts.push(note("qemu", `${path} gives no answer: ${error.reason}`));
    }
  }
  if (canTakeOver) return facts;
  const text = facts.length === 0 ? "no QEMU for this machine was found" : "none of the QEMUs found can take a VM over";
  return [...facts, hinders("qemu", text, "install QEMU 10.0 or later; one in another place is named with --qemu")];
}

function findBinaries(more: readonly string[]): string[] {
  const names = [
    `qemu-system-${{ x64: "x86_64", arm64: "aarch64" }[process.arch as string] ?? process.arch}`,
    "qemu-kvm",
    "kvm",
  ];
  const path = (process.env["PATH"] ?? "").split(":").filter((folder) => folder.startsWith("/"));
  const below = namesIn("/opt").flatMap((name) => [join("/opt", name), join("/opt", name, "bin")]);
  const found = new Map<string, string>();
  const folders = [...path, ...places, ...below];
  for (const each of [...more, ...folders.flatMap((folder) => names.map((name) => join(folder, name)))]) {
    try {
      const real = realpathSync(each);
      accessSync(real, constants.X_OK);
      if (lstatSync(real).isFile() && !found.has(real)) found.set(real, each);
    } catch {
      // There is none.
    }
  }
  // By the name that people know; a wrapper may look at it.
  return [...found.values()].sort();
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * Who, other than root and this user, could have put something else at `path`: by the owner and mode of the file that it
 * leads to, of each link on the way, and of every folder above them; in words, undefined if nobody.
 */
function whoElseMayChange(path: string): string | undefined {
  const seen = new Set<string>();
  const look = (at: string): string | undefined => {
    if (seen.has(at)) return undefined;
    seen.add(at);
    const stat = lstatSync(at);
    if (stat.uid !== 0 && stat.uid !== process.geteuid?.()) return `user ${stat.uid}, the owner of ${at},`;
    const isSticky = stat.isDirectory() && (stat.mode & 0o1000) !== 0;
    if (!stat.isSymbolicLink() && (stat.mode & 0o002) !== 0 && !isSticky) return `everybody, by the mode of ${at},`;
    if (!stat.isSymbolicLink() && (stat.mode & 0o020) !== 0 && stat.gid !== 0 && !isSticky) {
      return `group ${stat.gid}, by the mode of ${at},`;
    }
    return at === "/" ? undefined : look(dirname(at));
  };
  try {
    return look(path) ?? look(realpathSync(path));
  } catch (error) {
    return `somebody (${String(error)})`;
  }
}
