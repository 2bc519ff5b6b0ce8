// Programs, libraries and folders that cprkit itself uses.

import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, lstatSync, mkdirSync, mkdtempSync, rmdirSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { libc } from "../../linux/ffi/koffi.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import { stateBase } from "../vm/state-dir.ts";
import { fine, type HostFact, hinders, note } from "./fact.ts";

/** The library that system calls go through. */
export function koffiFact(): HostFact {
  try {
    libc();
    return fine("ffi", "koffi is loaded: system calls can be made");
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    return hinders(
      "ffi",
      `nothing but reading files works: ${error.reason}`,
      "npm install koffi@3.3.4, or use the one file",
    );
  }
}

/** Of util-linux, by which a new QEMU gets the limits, rights and namespaces of the old one. */
const programs = [
  { name: "prlimit", args: ["--version"], without: "no update works" },
  { name: "setpriv", args: ["--version"], without: "VMs of other users can't be updated" },
  { name: "nsenter", args: ["--version"], without: "VMs in containers can't be updated" },
  { name: "sh", args: ["-c", ":"], without: "VMs in a cgroup or with rights of their own can't be updated" },
] as const;

/** Each is started. */
export function programFacts(): HostFact[] {
  const missing = programs.filter(({ name, args }) => {
    const { status, error } = spawnSync(name, args, { stdio: "ignore", timeout: 5_000 });
    return error !== undefined || status !== 0;
  });
  if (missing.length === 0) return [fine("programs", `${programs.map(({ name }) => name).join(", ")} work`)];
  const text = missing.map(({ name, without }) => `${name} can't be run: ${without}`).join("; ");
  return [hinders("programs", text, "install util-linux, and have it in PATH")];
}

/** Where updates keep their journals: written to. */
export function stateFact(): HostFact {
  const base = stateBase(undefined, undefined);
  if (base === undefined) {
    return fine(
      "state",
      "journals are kept beside each VM's QMP socket: XDG_RUNTIME_DIR is not set, or not this user's",
    );
  }
  const folder = existsSync(base) ? base : dirname(base);
  try {
    rmdirSync(mkdtempSync(join(folder, ".cprkit-doctor-")));
    return fine("state", `journals are kept in ${base}`);
  } catch (error) {
    const text = `journals can't be kept in ${base}: ${error instanceof Error ? error.message : String(error)}`;
    return hinders("state", text, "make the folder writable for this user, or name another with --state-dir");
  }
}

/** Where compiled code is kept, as bin/start.cjs does it; without it a start only takes longer. */
export function cacheFact(): HostFact {
  const named = process.env["XDG_CACHE_HOME"];
  const base = named?.startsWith("/") === true && isOurs(named) ? named : join(userInfo().homedir, ".cache");
  const folder = join(base, "cprkit");
  try {
    for (const each of [base, folder]) if (!existsSync(each)) mkdirSync(each, { mode: 0o700 });
    if (!isOurs(folder)) {
      return note(
        "cache",
        `${folder} is not used: others may write there, or own it`,
        `chmod go-w ${folder}, or remove it`,
      );
    }
    accessSync(folder, constants.W_OK);
    return fine("cache", `compiled code is kept in ${folder}`);
  } catch (error) {
    return note("cache", `no compiled code is kept: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function isOurs(folder: string): boolean {
  try {
    const { uid, mode } = lstatSync(folder);
    return uid === process.geteuid?.() && (mode & 0o170022) === 0o040000;
  } catch {
    return false;
  }
}
