// The fields of a description that are still to be compared, in order. The time of an answer does not
// grow with their number: a description from a hostile file may have hundreds of thousands.

import type { CheckField } from "./side.ts";

export interface FieldQueue {
  /** The next field, or the one `place` places after it. */
  peek(place?: number): CheckField | undefined;
  /** Takes the next `count` fields off. */
  take(count: number): CheckField[];
  /** Puts `fields` in the place of the next one, as if they had always been there. */
  open(fields: readonly CheckField[]): void;
  /**
   * How many fields come before the one of this name; -1 if it does not come any more. `config[1]` in a stream means
   * the second "config" of all, including those that were taken.
   */
  ahead(name: string): number;
  /** Whether a field of this name, without its number, comes after the next one. */
  comesLater(name: string): boolean;
}

/** `plain` removes the number from a name, if one side numbers its fields and the other does not. */
export function fieldQueue(fields: readonly CheckField[], plain: (name: string) => string): FieldQueue {
  // The next field is the last here: those below it keep their places when some are taken or put on top.
  const stack: CheckField[] = [];
  const places = new Map<string, number[]>();
  const plainPlaces = new Map<string, number[]>();
  const taken = new Map<string, number>();

  const put = (all: readonly CheckField[]) => {
    for (let i = all.length - 1; i >= 0; i--) {
      const field = all[i] as CheckField;
      note(places, field.name, stack.length);
      note(plainPlaces, plain(field.name), stack.length);
      stack.push(field);
    }
  };
  const pop = (): CheckField | undefined => {
    const field = stack.pop();
    if (field === undefined) return undefined;
    places.get(field.name)?.pop();
    plainPlaces.get(plain(field.name))?.pop();
    return field;
  };
  const distance = (place: number | undefined): number => (place === undefined ? -1 : stack.length - 1 - place);
  put(fields);

  return {
    peek: (place = 0) => stack[stack.length - 1 - place],
    take(count) {
      const fields: CheckField[] = [];
      for (let i = 0; i < count; i++) {
        const field = pop();
        if (field === undefined) break;
        const name = plain(field.name);
        taken.set(name, (taken.get(name) ?? 0) + 1);
        fields.push(field);
      }
      return fields;
    },
    open(inner) {
      pop();
      put(inner);
    },
    ahead(name) {
      const exact = distance(places.get(name)?.at(-1));
      const bare = plain(name);
      if (exact >= 0 || bare === name) return exact >= 0 ? exact : distance(plainPlaces.get(name)?.at(-1));
      const ordinal = Number(/\[(\d+)\]$/.exec(name)?.[1]) - (taken.get(bare) ?? 0);
      return ordinal < 0 ? -1 : distance(plainPlaces.get(bare)?.at(-1 - ordinal));
    },
    comesLater(name) {
      const bare = plain(name);
      const next = stack.at(-1);
      const own = next !== undefined && plain(next.name) === bare ? 1 : 0;
      return (plainPlaces.get(bare)?.length ?? 0) > own;
    },
  };
}

function note(places: Map<string, number[]>, name: string, place: number): void {
  const known = places.get(name);
  if (known === undefined) places.set(name, [place]);
  else known.push(place);
}
