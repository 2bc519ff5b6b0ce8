// Starts a program in the mount namespace of another process. What is there is its user's: sh(1), setpriv(1) and the C
// library would run as we are before they could give anything up. So a Node of ours, which has all that it needs in
// memory by then, enters, takes on the rights, and only then executes what is in there.

import { writeSync } from "node:fs";
import { constants } from "node:os";
import { koffiFile } from "../../linux/ffi/koffi.ts";
import { createMemfd } from "../../linux/index.ts";
import { type Credentials, hasCapability, hasSameRights } from "../vm/credentials.ts";

/** What is started. */
export interface Entering {
  readonly pid: number;
  /** Whose rights it has now, and gets. */
  readonly own: Credentials;
  readonly wanted: Credentials;
  /** The program, absolute or /proc/PID/exe, and its arguments. */
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Gone to with the rights of its user; undefined: the folder in which the process is. */
  readonly folder: string | undefined;
  /** Of open files: Node raises its own soft limit. */
  readonly nofile: { readonly soft: number; readonly hard: number } | undefined;
  /** Whether the kernel ends it when its parent ends. */
  readonly endsWithUs: boolean;
}

/**
 * The words that start it, and a new fd that the child must inherit as number `at`. The numbers of all other fds that it
 * inherits are to be added to the words.
 */
export function enterWords(
  entering: Entering,
  at: number,
): { readonly words: readonly string[]; readonly job: number } {
  const job = createMemfd("job");
  const bytes = Buffer.from(JSON.stringify({ koffi: koffiFile(), calls: callsFor(entering) }));
  for (let done = 0; done < bytes.length; ) done += writeSync(job, bytes, done);
  return { words: [process.execPath, "-e", program, String(at)], job };
}

/** A number, text, bytes, a list of texts, or the fd of a path, opened before the first call. */
type Argument =
  | number
  | string
  | { readonly bytes: readonly number[] }
  | { readonly texts: readonly string[] }
  | Opened;

interface Opened {
  readonly open: string;
}

/** A function of the C library, and what is done if it fails: the end, or nothing. */
type Call = readonly [name: string, failure: "end" | "go on", ...args: Argument[]];

function callsFor(entering: Entering): readonly Call[] {
  const { pid, own, wanted, words, env, folder, nofile, endsWithUs } = entering;
  const [path = ""] = words;
  const variables = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  const lists = [{ texts: words }, { texts: variables }];
  return [
    // Node's other threads stay where they are; execve(2) ends them.
    ["unshare", "end", cloneFs],
    ["setns", "end", { open: `/proc/${pid}/ns/mnt` }, cloneNewns],
    ["fchdir", "end", { open: `/proc/${pid}/root` }],
    ["chroot", "end", "."],
    ...(folder === undefined ? [["fchdir", "end", { open: `/proc/${pid}/cwd` }] as const] : []),
    ...(nofile === undefined
      ? []
      : [["setrlimit", "go on", rlimitNofile, words64([nofile.soft, nofile.hard])] as const]),
    ...(hasSameRights(own, wanted) ? [] : rightsCalls(own, wanted)),
    ["umask", "go on", wanted.umask],
    ["signal", "go on", constants.signals.SIGPIPE, 0],
    ["signal", "go on", constants.signals.SIGXFSZ, 0],
    ...(folder === undefined ? [] : [["chdir", "end", folder] as const]),
    // Rights that change take it away.
    ...(endsWithUs ? [["prctl", "end", pr.setDeathSignal, constants.signals.SIGKILL] as const] : []),
    /^\/proc\/\d+\/exe$/.test(path) ? ["fexecve", "end", { open: path }, ...lists] : ["execve", "end", path, ...lists],
  ];
}

/** credentials(7), capabilities(7): what takes rights to change comes before they are given up. */
function rightsCalls(own: Credentials, wanted: Credentials): readonly Call[] {
  const { uid, gid, groups } = wanted;
  // Of root a program gets what the bounding set leaves; of another user what is ambient.
  const bounding = uid === 0 ? wanted.permitted : wanted.bounding;
  const inheritable = uid === 0 ? wanted.inheritable & wanted.permitted : wanted.inheritable;
  const ambient = uid === 0 ? 0n : wanted.ambient;
  const kept = uid === 0 ? wanted.permitted : ambient;
  return [
    capset(own.permitted, inheritable),
    ...bitsOf(own.bounding & ~bounding).map((bit): Call => ["prctl", "end", pr.dropBounding, bit]),
    ["setgroups", "end", groups.length, { bytes: [...new Uint8Array(new Uint32Array(groups).buffer)] }],
    ["setresgid", "end", gid, gid, gid],
    ["prctl", "end", pr.setKeepCapabilities, 1],
    ["setresuid", "end", uid, uid, uid],
    capset(kept, inheritable),
    ["prctl", "end", pr.ambient, ambientClear, 0, 0, 0],
    ...bitsOf(ambient).map((bit): Call => ["prctl", "end", pr.ambient, ambientRaise, bit, 0, 0]),
    ...(wanted.noNewPrivs ? [["prctl", "end", pr.setNoNewPrivs, 1, 0, 0, 0] as const] : []),
  ];
}

/** capset(2), version 3, of the calling thread. */
function capset(permitted: bigint, inheritable: bigint): Call {
  const half = (set: bigint, shift: bigint) => Number((set >> shift) & 0xffff_ffffn);
  const data = [0n, 32n].flatMap((shift) => [half(permitted, shift), half(permitted, shift), half(inheritable, shift)]);
  return ["capset", "end", words32([0x2008_0522, 0]), words32(data)];
}

function words32(values: readonly number[]): Argument {
  return { bytes: [...new Uint8Array(new Uint32Array(values).buffer)] };
}

/** All ones: no limit. */
function words64(values: readonly number[]): Argument {
  const all = values.map((value) => (Number.isFinite(value) ? BigInt(value) : 0xffff_ffff_ffff_ffffn));
  return { bytes: [...new Uint8Array(new BigUint64Array(all).buffer)] };
}

function bitsOf(set: bigint): number[] {
  const bits: number[] = [];
  for (let bit = 0n; set >> bit > 0n; bit++) if (hasCapability(set, bit)) bits.push(Number(bit));
  return bits;
}

const cloneFs = 0x200;
const cloneNewns = 0x2_0000;
const rlimitNofile = 7;
const ambientRaise = 2;
const ambientClear = 4;

/** prctl(2). */
const pr = { setDeathSignal: 1, setKeepCapabilities: 8, dropBounding: 24, setNoNewPrivs: 38, ambient: 47 } as const;

/**
 * Makes the calls that it reads, one after the other. What it needs is opened and loaded before the first. Node has made
 * all fds that it has inherited close-on-exec; those named in its arguments are meant for the program that it becomes.
 */
const program = `
const { closeSync, openSync, readFileSync, writeSync } = require("node:fs");
const [at, ...kept] = process.argv.slice(1).map(Number);
const { koffi: file, calls } = JSON.parse(readFileSync("/proc/self/fd/" + at, "utf8"));
closeSync(at);
const koffi = require(file);
const library = koffi.load(null);
const longs = "(long, long, long, long, long, long)";
const functions = new Map();
const func = (name) => {
  if (!functions.has(name)) functions.set(name, library.func("int " + name + longs));
  return functions.get(name);
};
const held = [];
const pointer = (bytes) => {
  const own = new Uint8Array(bytes.length + 1);
  own.set(bytes);
  held.push(own);
  return koffi.address(own);
};
const text = (value) => pointer(new TextEncoder().encode(value));
const valueOf = (argument) => {
  if (typeof argument === "number") return argument;
  if (typeof argument === "string") return text(argument);
  if ("bytes" in argument) return pointer(argument.bytes);
  if ("open" in argument) return openSync(argument.open, "r");
  const list = new BigUint64Array([...argument.texts.map((each) => BigInt(text(each))), 0n]);
  held.push(list);
  return koffi.address(list);
};
const prepared = calls.map(([name, failure, ...args]) => {
  const values = args.map(valueOf);
  while (values.length < 6) values.push(0);
  return { name, failure, call: func(name), values };
});
const control = func("fcntl");
for (const fd of kept) control(fd, 2, 0, 0, 0, 0);
for (const { name, failure, call, values } of prepared) {
  if (call(...values) >= 0 || failure === "go on") continue;
  const errno = koffi.errno();
  writeSync(2, name + ": errno " + errno + "\\n");
  process.exit(70);
}
`;
