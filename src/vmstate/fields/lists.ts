// Lists that end by a byte, not by a count: 01 before each element, 00 at the end.

import type { Description } from "../description.ts";
import { checkVersion, loadChecked, located, saveBody } from "../engine.ts";
import { type Field, misfit } from "../field.ts";
import type { Reader } from "../reader.ts";

export interface ListOptions {
  /** QEMU's field.version_id: since when the field exists, and the version its elements are loaded at. Default 0. */
  readonly version?: number;
}

/** A QLIST (VMSTATE_QLIST_V), head first. The array keeps the order of the wire, as QEMU's loader does. */
export function qlist<State>(element: Description<State>, options: ListOptions = {}): Field<State[]> {
  return list("qlist", element, options);
}

/** A QTAILQ (VMSTATE_QTAILQ_V), head first. */
export function qtailq<State>(element: Description<State>, options: ListOptions = {}): Field<State[]> {
  return list("qtailq", element, options);
}

function list<State>(type: string, element: Description<State>, { version = 0 }: ListOptions): Field<State[]> {
  return {
    type,
    version,
    minimum: 1,
    descriptions: [element],
    load: (reader) => {
      checkVersion(reader, element, version);
      const elements: State[] = [];
      try {
        while (reader.flag(`"one more ${element.name}" or the list's end`)) {
          elements.push(loadElement(reader, element, version, elements.length));
        }
      } catch (error) {
        throw located(error, elements.length);
      }
      return elements;
    },
    save: (writer, value) => {
      if (!Array.isArray(value)) throw misfit("an array", value);
      let at = 0;
      try {
        for (; at < value.length; at++) {
          writer.uint8(1);
          saveBody(writer, element, value[at] as State);
        }
      } catch (error) {
        throw located(located(error, element.name), at);
      }
      writer.uint8(0);
    },
  };
}

/** One element or tree node, seen by the observer. Errors get the description's name. */
export function loadElement<State>(
  reader: Reader,
  description: Description<State>,
  version: number,
  label: string | number,
): State {
  try {
    reader.observer?.enter(label, description.name, reader.offset, description.name);
    const state = loadChecked(reader, description, version);
    reader.observer?.leave(reader.offset, state);
    return state;
  } catch (error) {
    throw located(error, description.name);
  }
}
