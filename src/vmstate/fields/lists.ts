// Lists that end by a byte, not by a count: 01 before each element, 00 at the end.

import type { Description } from "../description.ts";
import { checkElement, type ElementLoader, elementLoader, elementSaver, entryCompiler, located } from "../engine.ts";
import { withRecipe } from "../recipes.ts";
import { type Field, misfit } from "../types.ts";
import type { Reader } from "../wire/reader.ts";

/** Options of {@link qlist} and {@link qtailq}. */
export interface ListOptions {
  /** QEMU's field.version_id: since when the field exists, and the version its elements are loaded at. Default 0. */
  readonly version?: number;
}

/** What a list field loads into and saves from. Every array is one; so may be a table of your own. */
export interface ListTable<State> {
  /** Adds an element after all others. */
  push(element: State): unknown;
  /** Calls `visit` for each element, head first. */
  forEach(visit: (element: State) => void): void;
}

/** Options of {@link qlist} and {@link qtailq} for a table of your own in place of an array. */
export interface TableOptions<Table> extends ListOptions {
  /** Makes a table of your own to load into; when the target holds one already, that one is filled. */
  readonly create: () => Table;
  /**
   * One object for all elements, refilled for each: faster, for a table whose `push` copies what it keeps. Default:
   * an object for each element, which the table may keep.
   */
  readonly reuse?: boolean;
}

/**
 * A QLIST (VMSTATE_QLIST_V), head first. The array keeps the order of the wire, as QEMU's loader does. With `create`,
 * loading fills a table of your own instead of an array.
 */
export function qlist<State>(element: Description<State>, options?: ListOptions): Field<State[]>;
/** As above, into a table of your own. */
export function qlist<State, Table extends ListTable<State>>(
  element: Description<State>,
  options: TableOptions<Table>,
): Field<Table>;
export function qlist<State>(
  element: Description<State>,
  options: ListOptions & Partial<TableOptions<ListTable<State>>> = {},
): Field<ListTable<State>> {
  return list("qlist", element, options);
}

/** A QTAILQ (VMSTATE_QTAILQ_V), head first; otherwise as {@link qlist}. */
export function qtailq<State>(element: Description<State>, options?: ListOptions): Field<State[]>;
/** As above, into a table of your own. */
export function qtailq<State, Table extends ListTable<State>>(
  element: Description<State>,
  options: TableOptions<Table>,
): Field<Table>;
export function qtailq<State>(
  element: Description<State>,
  options: ListOptions & Partial<TableOptions<ListTable<State>>> = {},
): Field<ListTable<State>> {
  return list("qtailq", element, options);
}

function list<State>(
  type: string,
  element: Description<State>,
  { version = 0, create, reuse = false }: ListOptions & Partial<TableOptions<ListTable<State>>>,
): Field<ListTable<State>> {
  checkElement(element, version);
  const compiledFor = entryCompiler([{ description: element, version }]);
  const field: Field<ListTable<State>> = {
    type,
    version,
    minimum: 1,
    descriptions: [element],
    load: (reader, current) => {
      const loader = elementLoader(element, version);
      const what = `"one more ${element.name}" or the list's end`;
      const elements: ListTable<State> = create === undefined ? [] : (current ?? create());
      // An observer may keep what it is shown, and an array keeps all.
      const target = reuse && create !== undefined && reader.observer === undefined ? loader.reusable : undefined;
      const loadEntry = target === undefined ? undefined : compiledFor(reader).load;
      let at = 0;
      try {
        if (loadEntry !== undefined && target !== undefined)
          for (; loadEntry(reader, target, target); at++) elements.push(target as State);
        for (; reader.flag(what); at++) elements.push(loadOne(reader, loader, at, target));
      } catch (error) {
        throw located(error, at);
      }
      return elements;
    },
    save: (writer, value) => {
      if (create === undefined ? !Array.isArray(value) : typeof value?.forEach !== "function")
        throw misfit("an array", value);
      const saveElement = elementSaver(element);
      const saveEntry = compiledFor(writer).save;
      let at = 0;
      try {
        // By index: forEach leaves out what is missing.
        if (Array.isArray(value)) for (; at < value.length; at++) saveOne(value[at] as State);
        else
          value.forEach((state) => {
            if (saveEntry?.(writer, state as Target, state as Target) !== true) saveOne(state);
            at++;
          });
      } catch (error) {
        throw located(located(error, element.name), at);
      }
      writer.uint8(0);

      function saveOne(state: State): void {
        writer.uint8(1);
        saveElement(writer, state);
      }
    },
  };
  return create === undefined ? withRecipe({ kind: "list", description: element, version }, field) : field;
}

type Target = Record<string, unknown>;

/** One element or tree node, seen by the observer. Errors get the description's name. */
export function loadElement<State>(
  reader: Reader,
  description: Description<State>,
  version: number,
  label: string | number,
): State {
  return loadOne(reader, elementLoader(description, version), label);
}

/** As {@link loadElement}, for many elements of one kind. */
export function loadOne<State>(
  reader: Reader,
  loader: ElementLoader<State>,
  label: string | number,
  target?: Partial<State>,
): State {
  const { name } = loader.description;
  try {
    reader.observer?.enter(label, name, reader.offset, name);
    const state = loader.load(reader, target);
    reader.observer?.leave(reader.offset, state);
    return state;
  } catch (error) {
    throw located(error, name);
  }
}
