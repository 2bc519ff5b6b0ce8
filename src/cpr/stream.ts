// The QCPR stream: magic, version, CprState. Read in either ABI, written in either, for a chosen QEMU.

import { loadFrom, saveTo } from "../vmstate/codec.ts";
import { CprkitError } from "../vmstate/error.ts";
import type { FdForm, Observer, Output, PassedFd } from "../vmstate/index.ts";
import { Reader } from "../vmstate/wire/reader.ts";
import { Writer } from "../vmstate/wire/writer.ts";
import { cprStateHash, cprStateList, type LiveCprState } from "./descriptions.ts";
import {
  type CprAbi,
  cprMagic,
  cprVersion,
  cutShort,
  detectCprAbi,
  headerLength,
  subsectionCutShort,
} from "./detect.ts";
import { fdHash, fdList } from "./fd-lists.ts";
import { compiledFromBytes } from "./limits.ts";
import { CprState } from "./state.ts";
import type { FdEntry } from "./table/fd-table.ts";
import { type CprMode, type CprTrace, emit } from "./trace.ts";
import type { VfioSubsection } from "./vfio.ts";

/** A QEMU release, such as "10.0"; "11.1.3" is as good. */
export type QemuVersion = `${number}.${number}` | `${number}.${number}.${number}`;

/** A whole QCPR stream, and the fds that came with it. */
export interface CprInput {
  /** The whole stream, from "QCPR" to its end. */
  readonly bytes: Uint8Array;
  /** The fds that came with it, in order. Left out: they are unknown, and each reads as -1. */
  readonly fds?: readonly PassedFd[] | undefined;
}

/** Options of {@link loadCprState}. */
export interface LoadCprOptions {
  readonly trace?: CprTrace | undefined;
  /** Sees every field with its place. */
  readonly observer?: Observer | undefined;
  /** Refuses a stream whose fds have the other form: what came over a socket must not hold numbers. */
  readonly fdForm?: FdForm | undefined;
}

/** What {@link loadCprState} gives. */
export interface LoadedCpr {
  readonly state: CprState;
  readonly abi: CprAbi;
  readonly fdForm: FdForm;
  /** Entries whose key came again: the first one won. Their fds belong to the caller, to be closed. */
  readonly dropped: readonly FdEntry[];
  readonly warnings: readonly string[];
}

/** Options of {@link saveCprState}. */
export interface SaveCprOptions {
  /** Default "list": the hash ABI was never released. */
  readonly abi?: CprAbi | undefined;
  /** Default "passed". */
  readonly fdForm?: FdForm | undefined;
  /** The QEMU that will load it. Left out: the state's own form, so that what was loaded saves to the same bytes. */
  readonly forVersion?: QemuVersion | undefined;
  readonly trace?: CprTrace | undefined;
}

/**
 * Loads a stream, in whichever ABI it is, from its first byte to its last. No fd is closed, whatever happens.
 * Throws CprkitError with byte offset and field path (see {@link detectCprAbi} and `load` of cprkit/vmstate).
 */
export function loadCprState(input: CprInput, options: LoadCprOptions = {}): LoadedCpr {
  const detected = detectCprAbi(input.bytes);
  const { abi } = detected;
  const fdForm = options.fdForm ?? detected.fdForm;
  if (detected.firstFd !== undefined && fdForm !== detected.fdForm) throw otherForm(fdForm, detected.firstFd);
  const state = new CprState({ trace: options.trace });
  emit(options.trace, "cpr_state_load", () => ({ event: "cpr_state_load", mode: modeOf(fdForm) }));
  const reader = new Reader({ bytes: input.bytes, fds: input.fds, fdForm });
  reader.observer = options.observer;
  reader.compiled = input.bytes.length >= compiledFromBytes;
  options.observer?.enter("header", "header", 0);
  reader.pos = headerLength;
  options.observer?.leave(headerLength, `QCPR ${cprVersion}`);
  const live: LiveCprState = { live: state };
  const loaded =
    abi === "list" ? loadFrom(reader, cprStateList, { into: live }) : loadFrom(reader, cprStateHash, { into: live });
  if (reader.remaining > 0) {
    if (subsectionCutShort(input.bytes, reader.pos)) throw cutShort(input.bytes, "the end of a subsection's name");
    throw reader.error("ERR_TRAILING_BYTES", `the CPR state ends here, but ${reader.remaining} more bytes follow`);
  }
  reader.checkFdsTaken();
  const dropped = loaded.dropped ?? [];
  if (abi === "hash") emit(options.trace, "get_ghash", () => ({ event: "get_ghash", field: "fds", count: state.size }));
  return {
    state,
    abi,
    fdForm,
    dropped,
    warnings: dropped.map(
      ({ name, id }) => `${JSON.stringify(name)} id ${id} appears more than once: the first one counts`,
    ),
  };
}

/**
 * Saves the state: the bytes, and which fd belongs to which byte of them (none with fdForm "number").
 * Throws ERR_NOT_FOR_VERSION if the chosen QEMU cannot load it, ERR_VALUE for a name of more than 4095 bytes.
 */
export function saveCprState(state: CprState, options: SaveCprOptions = {}): Output {
  const { abi = "list", fdForm = "passed", forVersion, trace } = options;
  emit(trace, "cpr_state_save", () => ({ event: "cpr_state_save", mode: modeOf(fdForm) }));
  const own = state.vfioDevices;
  // Room for names of some length; most fit.
  const room = 64 + state.size * 48;
  const writer = new Writer(fdForm, room);
  writer.compiled = room >= compiledFromBytes;
  writer.uint32(cprMagic);
  writer.uint32(cprVersion);
  try {
    if (forVersion !== undefined) state.vfioDevices = vfioFor(forVersion, abi, own);
    if (abi === "list") saveTo(writer, cprStateList, { live: state, fds: fdList(state) });
    else saveTo(writer, cprStateHash, { live: state, fds: fdHash(state) });
  } finally {
    state.vfioDevices = own;
  }
  if (abi === "hash") emit(trace, "put_ghash", () => ({ event: "put_ghash", field: "fds", count: state.size }));
  return writer.finish();
}

/** The subsection as QEMU `version` expects it. */
function vfioFor(version: QemuVersion, abi: CprAbi, own: VfioSubsection | undefined): VfioSubsection | undefined {
  const number = /^(\d+)\.(\d+)(?:\.\d+)?$/.exec(version);
  if (number === null)
    throw new CprkitError("ERR_NOT_FOR_VERSION", `"${version}" is not a version of QEMU, such as "10.0"`);
  const [major, minor] = [Number(number[1]), Number(number[2])];
  const atLeast = (wantedMajor: number, wantedMinor: number) =>
    major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  if (!atLeast(10, 0))
    throw new CprkitError("ERR_NOT_FOR_VERSION", `QEMU ${version} has no CPR transfer: 10.0 is the first`);
  if (abi === "hash") {
    throw new CprkitError(
      "ERR_NOT_FOR_VERSION",
      `QEMU ${version} reads the list ABI; it would take the hash ABI for an empty table`,
    );
  }
  if (atLeast(10, 1)) return { devices: own?.devices ?? [] };
  const count = own?.devices?.length ?? 0;
  if (count > 0) {
    throw new CprkitError(
      "ERR_NOT_FOR_VERSION",
      `QEMU ${version} knows no vfio devices in a CPR state, and this one has ${count}`,
    );
  }
  return undefined;
}

function otherForm(wanted: FdForm, offset: number): CprkitError {
  const [expected, found] =
    wanted === "passed"
      ? ["fds passed beside it (cpr-transfer)", "their numbers in it (cpr-exec)"]
      : ["the numbers of its fds in it (cpr-exec)", "a place for fds passed beside it (cpr-transfer)"];
  return new CprkitError("ERR_BAD_BYTE", `expected a CPR state with ${expected}, found one with ${found}`, { offset });
}

function modeOf(fdForm: FdForm): CprMode {
  return fdForm === "passed" ? "cpr-transfer" : "cpr-exec";
}
