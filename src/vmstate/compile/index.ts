// Code made of a description, for where much is loaded or saved: the same results and the same errors as the engine's, in
// a fraction of the time. It needs leave to generate code (`new Function`), which a content security policy may not give:
// so it is a subpath of its own, and nothing that runs in a browser imports it.

import { type LoadOptions, loadAll, loadFrom, type SaveOptions, saveTo } from "../codec.ts";
import type { Description } from "../description.ts";
import { planOf, useCompiler } from "../engine.ts";
import { type Input, Reader } from "../wire/reader.ts";
import { type Output, Writer } from "../wire/writer.ts";
import { compileBody, compileEntry } from "./body.ts";

/** What {@link compile} gives: the four functions of cprkit/vmstate for one description. */
export interface Compiled<State> {
  /** As `load` of cprkit/vmstate, with its errors. With an observer the engine loads. */
  load(input: Input, options?: LoadOptions<State>): State;
  /** As `loadFrom` of cprkit/vmstate. */
  loadFrom(reader: Reader, options?: LoadOptions<State>): State;
  /** As `save` of cprkit/vmstate, with its errors. */
  save(state: State, options?: SaveOptions): Output;
  /** As `saveTo` of cprkit/vmstate. */
  saveTo(writer: Writer, state: State): void;
  /**
   * What the code loads and saves of the body: "all" of it, "some" of it (the rest are hooks, subsections, fields that do
   * not always exist, kinds of one's own; the engine does them), or "nothing", also where no code may be generated.
   */
  readonly covers: "all" | "some" | "nothing";
}

/**
 * Makes functions that load and save as the engine does, with every check, error, offset and path: code that is written
 * out for the fields, and that leaves everything unusual, errors among it, to the engine. Where no code may be generated
 * (a content security policy, `node --disallow-code-generation-from-strings`) the engine does it all.
 *
 *     const codec = compile(timer);
 *     codec.load({ bytes });
 *
 * A description is compiled once for each version; making the code takes about a tenth of a millisecond for a dozen
 * fields, and V8 some rounds more to make it fast: it pays from some thousand values on.
 */
export function compile<State>(description: Description<State>): Compiled<State> {
  useCompiled();
  const { load: loads, save: saves, loadFields, saveFields } = compileBody(planOf(description, description.version));
  const some = loadFields !== undefined || saveFields !== undefined || loads !== undefined || saves !== undefined;
  return {
    load: (input, options = {}) => {
      const reader = new Reader(input);
      reader.compiled = true;
      return loadAll(reader, description, options);
    },
    loadFrom: (reader, options) => asCompiled(reader, () => loadFrom(reader, description, options)),
    save: (state, options = {}) => {
      const writer = new Writer(options.fdForm);
      writer.compiled = true;
      saveTo(writer, description, state);
      return writer.finish();
    },
    saveTo: (writer, state) => asCompiled(writer, () => saveTo(writer, description, state)),
    covers: loads !== undefined && saves !== undefined ? "all" : some ? "some" : "nothing",
  };
}

/** Lets cprkit's own codecs (CprState) use compiled code in this process from now on. */
export function useCompiled(): void {
  useCompiler({ body: compileBody, entry: compileEntry });
}

function asCompiled<T>(wire: { compiled: boolean }, work: () => T): T {
  const before = wire.compiled;
  wire.compiled = true;
  try {
    return work();
  } finally {
    wire.compiled = before;
  }
}
