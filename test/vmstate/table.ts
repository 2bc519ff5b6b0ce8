// One harness for all tables: each valid row is checked in four directions and cut at every byte, each invalid row
// must give its code, path and offset exactly. All of it by the engine, and by code made of the description.
import { describe, expect, test } from "vitest";
import { compile } from "../../src/vmstate/compile/index.ts";
import {
  type Description,
  type ErrorCode,
  type Input,
  isCprkitError,
  type LoadOptions,
  load,
  type Output,
  save,
} from "../../src/vmstate/index.ts";

export interface ValidRow<State> {
  readonly title?: string;
  readonly state: State;
  /** Spaces are for the reader. */
  readonly hex: string;
  readonly fds?: Output["fds"];
  readonly version?: number;
  /** What the target holds before. */
  readonly into?: () => Partial<State>;
  /** Lengths at which the bytes, cut there, are whole as well. */
  readonly wholeAt?: readonly number[];
  /** What is saved, where it is not what is loaded. */
  readonly saved?: string;
}

export interface InvalidBytes<State> {
  readonly title?: string;
  readonly hex: string;
  readonly code: ErrorCode;
  readonly path: string;
  readonly offset: number;
  readonly fds?: Output["fds"];
  readonly version?: number;
  readonly into?: () => Partial<State>;
}

export interface InvalidState {
  readonly title?: string;
  /** Wrong on purpose: no type would let it pass. */
  readonly state: unknown;
  readonly code: ErrorCode;
  readonly path: string;
}

export function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex.replaceAll(/\s/g, ""), "hex"));
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function plain(hex: string): string {
  return hex.replaceAll(/\s/g, "");
}

export function validTable<State>(
  title: string,
  description: Description<State>,
  rows: readonly ValidRow<State>[],
): void {
  describe(title, () => {
    for (const row of rows) {
      test(row.title ?? (row.hex === "" ? "no bytes" : row.hex), () => {
        for (const codec of codecsOf(description)) checkValid(codec, row);
      });
    }
  });
}

interface Codec<State> {
  readonly load: (input: Input, options: LoadOptions<State>) => State;
  readonly save: (state: State) => Output;
}

/** Both ways to load and save: each table goes through both. */
function codecsOf<State>(description: Description<State>): readonly Codec<State>[] {
  const engine: Codec<State> = {
    load: (input, options) => load(description, input, options),
    save: (state) => save(description, state),
  };
  return [engine, compile(description)];
}

function checkValid<State>({ load, save }: Codec<State>, row: ValidRow<State>): void {
  const input: Input = { bytes: bytesOf(row.hex), fds: row.fds ?? [] };
  const options = () => ({ version: row.version, into: row.into?.() });
  expect(load(input, options())).toEqual(row.state);
  if (row.version === undefined) {
    const wanted = plain(row.saved ?? row.hex);
    const saved = save(row.state);
    expect(hexOf(saved.bytes)).toBe(wanted);
    expect(saved.fds).toEqual(row.fds ?? []);
    expect(hexOf(save(load(input, options())).bytes)).toBe(wanted);
    expect(load(saved, options())).toEqual(row.state);
  }
  for (let length = 0; length < input.bytes.length; length++) {
    if (row.wholeAt?.includes(length)) continue;
    const cut = { ...input, bytes: input.bytes.subarray(0, length) };
    const error = caught(() => load(cut, options()));
    expect(codesOfCuts, `cut at ${length}`).toContain(codeOf(error));
  }
  // ff begins neither a subsection nor anything else.
  const longer = { ...input, bytes: bytesOf(`${row.hex} ff`) };
  expect(codeOf(caught(() => load(longer, options())))).toBe("ERR_TRAILING_BYTES");
}

/** A subsection's header that is cut is nobody's: it is left over. */
const codesOfCuts = ["ERR_EOF", "ERR_COUNT", "ERR_FD_SURPLUS", "ERR_TRAILING_BYTES"];

export function invalidTable<State>(
  title: string,
  description: Description<State>,
  rows: readonly (InvalidBytes<State> | InvalidState)[],
): void {
  describe(`${title}, invalid`, () => {
    for (const row of rows) {
      const name = "hex" in row ? row.hex : String(JSON.stringify(row.state, (_key, value) => readable(value)));
      test(row.title ?? `${name} gives ${row.code}`, () => {
        for (const codec of codecsOf(description)) {
          const error = caught(() =>
            "hex" in row
              ? codec.load(
                  { bytes: bytesOf(row.hex), fds: row.fds ?? [] },
                  { version: row.version, into: row.into?.() },
                )
              : codec.save(row.state as State),
          );
          if (!isCprkitError(error)) throw error;
          expect({ code: error.code, path: error.path, offset: error.offset }).toEqual({
            code: row.code,
            path: row.path,
            offset: "hex" in row ? row.offset : undefined,
          });
          expect(error.message).toContain(row.path);
        }
      });
    }
  });
}

export function caught(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return new Error("nothing was thrown");
}

export function codeOf(error: unknown): ErrorCode | string {
  return isCprkitError(error) ? error.code : `not an error of cprkit: ${String(error)}`;
}

function readable(value: unknown): unknown {
  return typeof value === "bigint" ? `${value}n` : value;
}
