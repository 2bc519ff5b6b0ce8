// CprState: the open fds that must outlive this process, each under (name, id), with QEMU's calls and their meaning
// (QEMU 11.1 migration/cpr.c). It owns no fd: it opens and closes none.

import { CprkitError } from "../vmstate/error.ts";
import { type FdEntry, type FdRecord, FdTable } from "./table/fd-table.ts";
import type { LoadedFds } from "./table/loaded-fds.ts";
import { type CprTrace, emit } from "./trace.ts";
import type { VfioSubsection } from "./vfio.ts";

/** Options of {@link CprState}. */
export interface CprStateOptions {
  readonly trace?: CprTrace | undefined;
}

/**
 * The fds to keep, by name and id, with the calls of QEMU's migration/cpr.c. An fd is a number here: it is neither
 * opened nor closed.
 */
export class CprState implements Iterable<FdEntry> {
  /** True while a state handed over by an older process is being taken up: fds are looked for before they are made. */
  isIncoming = false;
  /** The subsection "CprState/vfio devices" (QEMU 10.1 on); undefined: there is none. */
  vfioDevices: VfioSubsection | undefined = undefined;
  readonly #table = new FdTable(checkNewName);
  readonly #trace: CprTrace | undefined;

  constructor(options: CprStateOptions = {}) {
    this.#trace = options.trace;
  }

  /** Number of fds kept. */
  get size(): number {
    return this.#table.size;
  }

  /**
   * Keeps `fd` under (`name`, `id`). `id` is a signed 32-bit number.
   * Throws ERR_FD_EXISTS if the key is taken (upstream this ends in a use-after-free; {@link resaveFd} is the call
   * that may be repeated), ERR_FD_INVALID for an fd, id or name that cannot be. (QEMU: cpr_save_fd)
   */
  saveFd(name: string, id: number, fd: number): void {
    checkFd(name, id, fd);
    const found = this.#table.add(name, id, fd);
    if (found !== undefined) {
      throw new CprkitError(
        "ERR_FD_EXISTS",
        `fd ${found} is already registered as ${JSON.stringify(name)} id ${id}; cannot save fd ${fd} there`,
      );
    }
    this.#traceSaved(name, id, fd);
  }

  /** The fd kept under (`name`, `id`), or -1. It stays in the table. O(1), allocates nothing. (QEMU: cpr_find_fd) */
  findFd(name: string, id: number): number {
    const fd = this.#table.get(name, id) ?? -1;
    // Not by emit(): its closure would be built for a listener that wants other events only.
    if (this.#trace?.wants("cpr_find_fd")) this.#trace.emit({ event: "cpr_find_fd", name, id, fd });
    return fd;
  }

  /** Forgets the fd and says whether it was there. The fd stays open. (QEMU: cpr_delete_fd) */
  deleteFd(name: string, id: number): boolean {
    emit(this.#trace, "cpr_delete_fd", () => ({ event: "cpr_delete_fd", name, id }));
    return this.#table.delete(name, id);
  }

  /**
   * As {@link saveFd}, but may be repeated with the same fd. Throws ERR_FD_CONFLICT if another fd is kept there,
   * ERR_FD_INVALID as saveFd. (QEMU 10.1: cpr_resave_fd)
   */
  resaveFd(name: string, id: number, fd: number): void {
    checkFd(name, id, fd);
    const found = this.#table.get(name, id);
    if (found === fd) return;
    if (found !== undefined && found >= 0) {
      throw new CprkitError(
        "ERR_FD_CONFLICT",
        `${JSON.stringify(name)} id ${id} is already saved as fd ${found}; it cannot become fd ${fd}`,
      );
    }
    if (found !== undefined) this.#table.delete(name, id);
    this.#table.add(name, id, fd);
    this.#traceSaved(name, id, fd);
  }

  /**
   * The fd kept under (`name`, `id`), or else the one that `open(path)` gives, which is saved then. `open` throws if it
   * cannot; how to open (flags) is its business. (QEMU 10.1: cpr_open_fd)
   */
  openFd(path: string, name: string, id: number, open: (path: string) => number): number {
    const found = this.findFd(name, id);
    if (found >= 0) return found;
    const fd = open(path);
    this.resaveFd(name, id, fd);
    return fd;
  }

  /**
   * Calls `visit` with each entry, newest first, until it returns false; says whether it got to the end. `visit` must
   * not change the state.
   * (QEMU 10.2: cpr_walk_fd)
   */
  walkFds(visit: (entry: FdEntry) => boolean): boolean {
    return this.#table.walk((name, id, fd) => visit({ name, id, fd }));
  }

  /**
   * The fd that a user gave as `fdName` (a number, or a name known to the monitor) for the device `name`. While a state
   * is incoming, the one saved under (`name`, `index`): throws ERR_FD_NOT_SAVED if there is none. Otherwise what
   * `resolve(fdName)` gives, which is saved. (QEMU 10.1: cpr_get_fd_param)
   */
  getFdParam(name: string, fdName: string, index: number, resolve: (fdName: string) => number): number {
    if (this.isIncoming) {
      const fd = this.findFd(name, index);
      if (fd < 0)
        throw new CprkitError(
          "ERR_FD_NOT_SAVED",
          `cannot find the saved value for fd ${fdName}: nothing is saved as ${JSON.stringify(name)} id ${index}`,
        );
      return fd;
    }
    const fd = resolve(fdName);
    this.saveFd(name, index, fd);
    return fd;
  }

  /** Whether an fd is kept under (`name`, `id`). */
  has(name: string, id: number): boolean {
    return this.#table.get(name, id) !== undefined;
  }

  /** The entries, newest first, as they are at the call. */
  [Symbol.iterator](): IterableIterator<FdEntry> {
    return this.entries().values();
  }

  /** The entries, newest first, in an array of their own. */
  entries(): FdEntry[] {
    const entries: FdEntry[] = [];
    this.#table.walk((name, id, fd) => {
      entries.push({ name, id, fd });
      return true;
    });
    return entries;
  }

  /**
   * Takes over what was loaded, into an empty state. Of two entries with one key the first on the wire wins, as QEMU finds
   * it; the others are returned.
   * @internal
   */
  fill(loaded: LoadedFds): FdEntry[] {
    return this.#table.fill(loaded);
  }

  /**
   * Puts each entry, newest first, into `one` and calls `visit` with it, twice: for a key and its value. `lengthOf` says the
   * length of a name on the wire, and is asked once for each name. The state must not change meanwhile.
   * @internal
   */
  eachFd(lengthOf: (name: string) => number, one: FdRecord, visit: (one: FdRecord, again: FdRecord) => void): void {
    this.#table.each(lengthOf, one, visit);
  }

  #traceSaved(name: string, id: number, fd: number): void {
    emit(this.#trace, "cpr_save_fd", () => ({ event: "cpr_save_fd", name, id, fd }));
  }
}

function checkFd(name: string, id: number, fd: number): void {
  if (typeof name !== "string") throw badName(typeof name);
  if (!isInt32(id)) {
    throw new CprkitError(
      "ERR_FD_INVALID",
      `the id of ${JSON.stringify(name)} must be a signed 32-bit integer, found ${String(id)}`,
    );
  }
  if (!isInt32(fd) || fd < 0) {
    throw new CprkitError("ERR_FD_INVALID", `${JSON.stringify(name)} id ${id} must be an open fd, found ${String(fd)}`);
  }
}

/** Asked once per name, not once per fd. */
function checkNewName(name: string): void {
  if (name.includes("\0")) throw badName(JSON.stringify(name));
}

function badName(found: string): CprkitError {
  return new CprkitError("ERR_FD_INVALID", `the name of an fd must be text without NUL, found ${found}`);
}

function isInt32(value: unknown): boolean {
  return typeof value === "number" && (value | 0) === value;
}
