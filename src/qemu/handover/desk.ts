// Decides which fds of the running QEMU the new one gets, at which numbers, and which words of the command line name
// them there. It is asked for each option while the new command line is derived. Nothing is touched.

import type { Carried } from "../carry/subject.ts";
import type { CommandOption } from "../command-line/parse.ts";
import type { VmFd } from "../fds/fate.ts";
import type { Finding } from "../finding.ts";
import { firstGivenFd } from "../vm/launcher.ts";
import { setWords } from "./fd-sets.ts";
import type { Held } from "./held.ts";
import { countLabels, isOfOwnMonitor, listenerOf, listenerWords, staying } from "./sockets.ts";
import { fdAddress, heldByStream, listeningStream, withAddress } from "./streams.ts";
import { tapFindings, tapOwners, tapWords } from "./tap.ts";

/** An fd that is handed over: what `getFdOf` takes from the running QEMU, and where the new one finds it. */
export interface Handed {
  /** Name and id, as a CprState has them: "cprkit/netdev/n0" and the number of the queue. */
  readonly name: string;
  readonly id: number;
  /** Its number in the running QEMU. */
  readonly fd: number;
  /** Its number in the new one. */
  readonly at: number;
  /** What it is: "tap tap0". */
  readonly what: string;
}

export function isSocket({ what }: Handed): boolean {
  return /^(unix|tcp) /.test(what);
}

/** See above. */
export interface Desk {
  /** What stands for the option on the new command line; undefined: this is not the desk's business. */
  rewrite(option: CommandOption): readonly CommandOption[] | undefined;
  /** Options for the end of the command line: the fd sets, whoever gave them. */
  readonly sets: readonly CommandOption[];
  /** What the words name, in the order of their new numbers. */
  readonly handed: readonly Handed[];
  /** What should be known of it. */
  readonly findings: readonly Finding[];
}

export interface DeskOptions {
  readonly held: readonly Held[];
  /** The folder against which QEMU has taken relative paths. */
  readonly cwd: string;
  /** Whether listening sockets are handed over; a QEMU that is only tried gets names of its own. */
  readonly sockets: boolean;
  /** The running command line. */
  readonly options: readonly CommandOption[];
  /** True: a new process, started by cprkit, gets duplicates. False (cpr-exec): the process keeps its fds and numbers. */
  readonly isNewProcess: boolean;
}

/** The fds with the fate of those that are handed over, as far as the running command line tells. */
export function withHanded(fds: readonly VmFd[], handed: readonly Handed[]): VmFd[] {
  return fds.map((one) => {
    const given = handed.find(({ fd }) => fd === one.fd);
    if (given === undefined) return one;
    return { ...one, fate: "handed", name: given.name, id: given.id, why: "handed over by cprkit" };
  });
}

/** The same for a report of what cprkit carries itself: a line for each tap. */
export function handedInWords(handed: readonly Handed[]): Carried[] {
  const whats = [...new Set(handed.map(({ what }) => what))];
  return whats.map((what) => {
    const own = handed.filter((one) => one.what === what);
    const count = own.length === 1 ? "its fd" : `its ${own.length} fds`;
    return { subject: own[0]?.name ?? what, what: `${what}: ${count} handed over` };
  });
}

/** What a new process would get of a running command line. */
export function handedOf(held: readonly Held[], cwd: string, options: readonly CommandOption[]): readonly Handed[] {
  const desk = openDesk({ held, cwd, options, isNewProcess: true, sockets: true });
  for (const option of options) desk.rewrite(option);
  return desk.handed;
}

export function openDesk({ held, cwd, sockets, options, isNewProcess }: DeskOptions): Desk {
  const labels = countLabels();
  const owners = tapOwners(
    options,
    held.filter(({ kind }) => kind === "tap"),
  );
  const stay = staying(options, isNewProcess ? held : held.filter(({ closeOnExec }) => !closeOnExec), cwd);
  const handed: Handed[] = [];
  const findings: Finding[] = [];
  const give = (name: string, id: number, { fd, kind, at }: Held): number => {
    const number = isNewProcess ? firstGivenFd + handed.length : fd;
    handed.push({ name, id, fd, at: number, what: `${kind} ${at}` });
    return number;
  };
  // QEMU closes its duplicates of what it was given when it executes another program.
  const sets = isNewProcess ? setWords(held, give) : [];
  return {
    handed,
    findings,
    sets,
    rewrite(option) {
      const label = labels.of(option);
      if (option.name === "add-fd" && isNewProcess) return [];
      if (isOfOwnMonitor(option)) return [];
      const listener = sockets && !stay.has(option) ? listenerOf(option, label, held, cwd) : undefined;
      if (listener !== undefined && (isNewProcess || !listener.held.closeOnExec)) {
        const number = give(`cprkit/chardev/${listener.id}`, 0, listener.held);
        return listenerWords(option, listener, number);
      }
      const stream = sockets ? listeningStream(option) : undefined;
      const heard = stream === undefined ? undefined : heldByStream(stream, held, cwd);
      if (stream !== undefined && heard !== undefined && (isNewProcess || !heard.closeOnExec)) {
        return [withAddress(option, fdAddress(give(`cprkit/netdev/${stream.id}`, 0, heard)))];
      }
      const queues = owners.get(option);
      // What is closed by exec can't be kept.
      if (queues === undefined || (!isNewProcess && queues.some(({ closeOnExec }) => closeOnExec))) return undefined;
      findings.push(...tapFindings(option));
      return [tapWords(option, queues, give)];
    },
  };
}
