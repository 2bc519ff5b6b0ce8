// Commands between the sections (QEMU 10.0 migration/savevm.c).

import { CprkitError } from "../../vmstate/error.ts";
import { Reader } from "../../vmstate/wire/reader.ts";
import type { FieldNode } from "../model.ts";
import { commandNames } from "./constants.ts";
import { need, type Step, type Window } from "./window.ts";

export interface ReadCommand {
  readonly number: number;
  readonly name: string;
  readonly size: number;
  readonly fields: readonly FieldNode[];
  /** What was wrong with it; it was skipped by its length then. */
  readonly problem: CprkitError | undefined;
}

type Add = (name: string, type: string, size: number, value: unknown) => void;

/** Reads a command after its byte 08; of PACKAGED the package follows. Throws ERR_EOF. */
export function* readCommand(w: Window): Step<ReadCommand> {
  yield* need(w, 4, "a command");
  const offset = w.offset - 1;
  const number = w.uint16();
  const size = w.uint16();
  const name = commandNames[number];
  yield* need(w, size, name === undefined ? `command ${number}` : `the command ${name}`);
  const bodyOffset = w.offset;
  const reader = new Reader({ bytes: w.copy(size), baseOffset: bodyOffset });
  if (name === undefined) {
    const reason = `unknown command ${number} (QEMU 10.0 knows 1 to ${commandNames.length - 1}); its ${size} bytes were skipped`;
    return {
      number,
      name: `command ${number}`,
      size,
      fields: [],
      problem: new CprkitError("ERR_BAD_STREAM", reason, { offset }),
    };
  }
  const fields: FieldNode[] = [];
  const add: Add = (label, type, length, value) => {
    fields.push({ name: label, type, offset: reader.offset - length, size: length, value, fields: undefined });
  };
  let problem: CprkitError | undefined;
  if (!fixedLength(number, size)) {
    problem = new CprkitError("ERR_BAD_STREAM", `the command ${name} has ${size} bytes, which QEMU refuses (-34)`, {
      offset,
    });
  } else {
    try {
      readPayload(number, reader, add);
    } catch (error) {
      if (!(error instanceof CprkitError)) throw error;
      problem = error.within(name);
    }
  }
  return { number, name, size, fields, problem };
}

function fixedLength(number: number, size: number): boolean {
  switch (number) {
    case 2:
    case 7:
      return size === 4;
    case 3:
      return size === 0 || size === 16;
    case 6:
    case 10:
      return true;
    default:
      return size === 0;
  }
}

function readPayload(number: number, reader: Reader, add: Add): void {
  if (number === 2) add("value", "uint32", 4, reader.uint32());
  if (number === 3 && reader.remaining > 0) {
    add("pageSizes", "uint64", 8, reader.uint64());
    add("targetPageSize", "uint64", 8, reader.uint64());
  }
  if (number === 6) {
    add("version", "uint8", 1, reader.uint8());
    const block = reader.countedText();
    add("block", "text", block.length + 1, block);
    add("end", "uint8", 1, reader.uint8());
    for (let i = 0; reader.remaining > 0; i++) {
      add(`ranges[${i}].start`, "uint64", 8, reader.uint64());
      add(`ranges[${i}].length`, "uint64", 8, reader.uint64());
    }
  }
  if (number === 7) add("length", "uint32", 4, reader.uint32());
  if (number === 10) {
    const block = reader.countedText();
    add("block", "text", block.length + 1, block);
  }
}
