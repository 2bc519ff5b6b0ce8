// Opens what the user named: a stream, whatever is around it.

import { openSource } from "../../files/open.ts";
import { inputName } from "../../files/read.ts";
import { notAStream, type UnwrapOptions, type Unwrapped } from "../../files/unwrap/peel.ts";
import { unwrap } from "../../files/unwrap/unwrap.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";

/** An open input, and what was found in it. */
export interface Input extends Unwrapped {
  /** What was named: a path, or "-". */
  readonly path: string;
  /** Length of the file, with what is around the stream; undefined for a pipe. */
  readonly fileSize: number | undefined;
  close(): void;
  /** Opens it once more; undefined for what gives its bytes only once. */
  readonly reopen: (() => Promise<Input>) | undefined;
}

/** Opens a file, a pipe or standard input, and looks for the stream in it. The caller closes it. Throws what `unwrap` throws. */
export async function openInput(path: string, options: UnwrapOptions): Promise<Input> {
  const open = openSource(path, { offset: options.offset });
  try {
    return {
      ...(await unwrap(open, options)),
      path,
      fileSize: open.size,
      close: () => open.close(),
      reopen: open.kind === "file" ? () => openInput(path, options) : undefined,
    };
  } catch (error) {
    open.close();
    throw isCprkitError(error) ? error.within(inputName(path)) : error;
  }
}

/** Which kind of stream it is; undefined for what is neither. */
export function kindOf({ start }: Input): "cpr" | "migration" | undefined {
  const magic = Buffer.from(start.subarray(0, 4));
  if (magic.toString("latin1") === "QCPR") return "cpr";
  // An extra channel of a multifd migration: the migration reader has the message for it.
  return magic.toString("latin1") === "QEVM" || magic.toString("hex") === "11223344" ? "migration" : undefined;
}

/** Throws for what holds no stream, or more than one to choose from: what it is, and what to do. */
export async function refuse(input: Input): Promise<never> {
  if (input.snapshots !== undefined) {
    const states = input.snapshots.filter(({ stateSize }) => stateSize > 0).map(({ name }) => `"${name}"`);
    const reason =
      states.length === 0
        ? "the qcow2 image has no snapshot with a machine's state"
        : `a qcow2 image holds a machine's state by snapshot: name one with --snapshot (${states.join(", ")})`;
    throw new CprkitError("ERR_USAGE", reason).within(inputName(input.path));
  }
  throw (await notAStream(input)).within(inputName(input.path));
}
