// What a walk through a stream knows so far.

import { CprkitError } from "../../vmstate/error.ts";
import type { Vmdesc, VmdescDevice } from "../../vmstate/vmdesc/read.ts";
import type { Command, Configuration, OnRamPlace, RamPage, Section, Trailing, Vmdescription } from "../model.ts";
import { newRamState, type RamState } from "../ram/state.ts";
import { type FoundDescription, seekDescription } from "./vmdescription.ts";
import type { Step, Window } from "./window.ts";

export interface WalkOptions {
  readonly onPage?: ((page: RamPage) => void) | undefined;
  readonly onPlace?: OnRamPlace | undefined;
  readonly pageSize?: number | undefined;
  /** Where the first described section begins, if what is before it is to be skipped. */
  readonly devicesAt?: number | undefined;
  /** Given when the description is another stream's. */
  readonly vmdesc?: string | undefined;
  /** Where the input ends, if that is known. */
  readonly inputSize?: number | undefined;
  /** Read on to the input's end, to know what follows the stream. */
  readonly toEnd?: boolean | undefined;
  /** Bytes of devices' states that are kept. */
  readonly maxState?: number | undefined;
}

/** What the walk knows so far. */
export interface Walk {
  readonly options: WalkOptions;
  readonly offset: number;
  version: number;
  configuration: Configuration | undefined;
  readonly sections: Section[];
  readonly commands: Command[];
  readonly problems: CprkitError[];
  /** START and FULL sections by id: PART and END refer to them. */
  readonly started: Map<number, Section>;
  ram: RamState | undefined;
  vmdesc: Vmdesc | undefined;
  vmdescription: Vmdescription | undefined;
  readonly devices: Map<string, VmdescDevice>;
  /** The input was searched up to here for the JSON; no need to do it again before. */
  soughtTo: number;
  /** Whether this stream's sections have footers; undefined before the first one's end. */
  footers: boolean | undefined;
  postcopyPageSizes: bigint;
  /** Of the command POSTCOPY_ADVISE: the guest's page size. */
  advisedPageSize: number | undefined;
  packaged: boolean;
  /** Bytes of devices' states so far. */
  stateBytes: number;
  trailing: Trailing | undefined;
  complete: boolean;
  stopped: CprkitError | undefined;
}

const maxProblems = 1000;

export function newWalk(offset: number, options: WalkOptions): Walk {
  return {
    options,
    offset,
    version: 0,
    configuration: undefined,
    sections: [],
    commands: [],
    problems: [],
    started: new Map(),
    ram: undefined,
    vmdesc: undefined,
    vmdescription: undefined,
    devices: new Map(),
    soughtTo: -1,
    footers: undefined,
    postcopyPageSizes: 0n,
    advisedPageSize: undefined,
    packaged: false,
    stateBytes: 0,
    trailing: undefined,
    complete: false,
    stopped: undefined,
  };
}

/** Notes what did not stop the walk. */
export function note(walk: Walk, problem: CprkitError): void {
  if (walk.problems.length < maxProblems) walk.problems.push(problem);
}

export function learn(walk: Walk, { vmdescription, vmdesc, problem }: FoundDescription): void {
  walk.vmdescription = vmdescription;
  walk.vmdesc = vmdesc;
  if (problem !== undefined) note(walk, problem);
  for (const device of vmdesc?.devices ?? []) walk.devices.set(deviceKey(device.name, device.instanceId), device);
  for (const { path, reason } of vmdesc?.warnings ?? []) {
    note(walk, new CprkitError("ERR_BAD_STREAM", reason, { offset: vmdescription.offset }).within(path));
  }
}

function deviceKey(name: string, instance: number): string {
  return `${instance}\0${name}`;
}

/** What the JSON says of a section; looks for the JSON first, if that was not done. */
export function* deviceOf(w: Window, walk: Walk, name: string, instance: number): Step<VmdescDevice | undefined> {
  if (walk.vmdescription === undefined && w.offset >= walk.soughtTo) {
    const description = yield* seekDescription(w);
    if (description !== undefined) learn(walk, description);
    else walk.soughtTo = w.ended ? Number.POSITIVE_INFINITY : w.endOffset;
  }
  return walk.devices.get(deviceKey(name, instance));
}

/** Makes sure that `length` bytes more may be kept. Throws ERR_LIMIT. */
export function keep(walk: Walk, length: number, offset: number): void {
  const limit = walk.options.maxState ?? Number.POSITIVE_INFINITY;
  if (walk.stateBytes + length <= limit) return;
  const reason = `the devices' states take more than ${limit} bytes, far more than the input has: is it the right file?`;
  throw new CprkitError("ERR_LIMIT", reason, { offset });
}

/** RAM's state; made when it is needed first, when all that it depends on has passed. */
export function ramState(walk: Walk): RamState {
  walk.ram ??= newRamState(
    pageSize(walk).size,
    walk.configuration?.capabilities ?? [],
    walk.postcopyPageSizes,
    walk.options,
  );
  return walk.ram;
}

/** Guest page size in bytes, and whether the stream or the caller stated it. */
export function pageSize(walk: Walk): { readonly size: number; readonly stated: boolean } {
  const { configuration, vmdesc, options } = walk;
  const bits = configuration?.targetPageBits;
  const configured = bits === undefined ? walk.advisedPageSize : 2 ** bits;
  const size = options.pageSize ?? vmdesc?.pageSize ?? configured;
  // AVR has pages of 256 bytes: the smallest of QEMU, and the lowest eight flags of RAM's records fit into it.
  if (size !== undefined && size >= 256 && size <= 2 ** 30 && (size & (size - 1)) === 0) return { size, stated: true };
  return { size: 4096, stated: false };
}
