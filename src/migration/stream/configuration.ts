// The configuration section: the machine, and the capabilities that change how RAM is sent.

import { loadBody } from "../../vmstate/engine.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { Reader } from "../../vmstate/wire/reader.ts";
import { decodeText } from "../../vmstate/wire/text.ts";
import type { Configuration } from "../model.ts";
import { item } from "./constants.ts";
import { type ConfigurationState, configurationVmstate } from "./known.ts";
import { cut, has, need, type Step, type Window } from "./window.ts";

/** Machine type names are short; with a longer one, this is not a configuration section. */
const maxMachineName = 1024;
/** Name, two capabilities and a UUID stay far below. */
const maxConfiguration = 8192;
/** 05, length, name: what must be seen to know whether a subsection follows. */
const lookahead = 2 + 255;

/** Reads the section if it is here; undefined if not. Throws ERR_EOF, ERR_LIMIT, ERR_UNKNOWN_SUBSECTION, ERR_RANGE. */
export function* readConfiguration(w: Window): Step<Configuration | undefined> {
  if (!(yield* has(w, 1)) || w.bytes[w.pos] !== item.configuration) return undefined;
  const offset = w.offset;
  yield* need(w, 5, "the configuration section");
  const length = w.view.getUint32(w.pos + 1);
  if (length > maxMachineName) {
    throw new CprkitError("ERR_LIMIT", `the machine's name has ${length} bytes, more than ${maxMachineName}`, {
      offset: offset + 1,
    }).within("configuration/len");
  }
  yield* need(w, 5 + length, "the configuration section");
  for (;;) {
    const bytes = w.bytes.subarray(w.pos + 1, w.end);
    const reader = new Reader({ bytes, baseOffset: offset + 1 });
    let error: CprkitError | undefined;
    let state: ConfigurationState | undefined;
    try {
      state = loadBody(reader, configurationVmstate, 0);
    } catch (caught) {
      if (!isCprkitError(caught)) throw caught;
      error = caught.within("configuration");
    }
    // At the window's end, a subsection may only seem to be cut or missing: look further.
    const short = error === undefined ? reader.remaining === 0 || reader.peek() === item.subsection : true;
    const unsure = short && reader.remaining < lookahead && bytes.length < maxConfiguration;
    if (unsure && !w.ended) {
      yield* has(w, w.available + (reader.remaining === 0 && error === undefined ? 1 : lookahead));
      continue;
    }
    if (error !== undefined) throw error;
    if (state === undefined) throw cut(w, 1, "the configuration section");
    w.pos += 1 + reader.pos;
    return {
      offset,
      size: 1 + reader.pos,
      machine: decodeText(state.name, 0, state.name.length),
      targetPageBits: state.targetPageBits?.bits,
      capabilities: state.capabilities?.capabilities ?? [],
      uuid: state.uuid === undefined ? undefined : uuidText(state.uuid.uuid),
    };
  }
}

function uuidText(bytes: readonly number[]): string {
  const digits = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
