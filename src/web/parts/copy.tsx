// Copies what is selected: its path, its value, its JSON, its offset.

import type { JSX } from "preact";
import { type FieldNode, fieldToJson } from "../../migration/index.ts";
import { shownValue } from "../state/sections.ts";
import { useApp } from "./use-app.ts";

/** What can be copied of a field, with the key for it. */
export const copies: readonly {
  readonly key: string;
  readonly name: string;
  readonly text: (place: CopyPlace) => string;
}[] = [
  { key: "p", name: "path", text: ({ label, path }) => (path === "" ? label : `${label}: ${path}`) },
  { key: "v", name: "value", text: ({ field }) => (field === undefined ? "" : shownValue(field)) },
  { key: "j", name: "JSON", text: ({ json }) => json() },
  { key: "x", name: "offset", text: ({ offset }) => `0x${offset.toString(16)}` },
];

/** Something that is selected. */
export interface CopyPlace {
  readonly label: string;
  readonly path: string;
  readonly field: FieldNode | undefined;
  readonly offset: number;
  readonly json: () => string;
}

/** A field, or a section as a whole, to be copied. */
export function placeOf(
  label: string,
  path: string,
  field: FieldNode | undefined,
  section: { readonly offset: number; readonly fields: readonly FieldNode[] },
): CopyPlace {
  return {
    label,
    path,
    field,
    offset: field?.offset ?? section.offset,
    json: () =>
      JSON.stringify(field === undefined ? section.fields.map(fieldToJson) : fieldToJson(field), undefined, 2),
  };
}

/** A button for each. */
export function CopyButtons({ place }: { readonly place: CopyPlace }): JSX.Element {
  const app = useApp();
  return (
    <fieldset class="buttons">
      <legend>Copy</legend>
      {copies.map(({ key, name, text }) => (
        <button
          key={key}
          type="button"
          title={`Copy the ${name} (${key})`}
          onClick={() => copy(text(place), name, app.set)}
        >
          {name}
        </button>
      ))}
      <button type="button" title="Copy the address of this place (a)" onClick={() => copyAddress(app)}>
        address
      </button>
    </fieldset>
  );
}

/** Copies the address of what is shown. */
export function copyAddress({ address, set }: Pick<ReturnType<typeof useApp>, "address" | "set">): void {
  copy(address(), "address", set);
}

/** Puts `text` where the system keeps what is copied, and says so. */
export function copy(text: string, name: string, set: (changes: { readonly said: string }) => void): void {
  const copied = (): void => set({ said: `The ${name} was copied.` });
  navigator.clipboard.writeText(text).then(copied, () => {
    // Not everywhere a page from a file may do that: the older way.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (done) copied();
    else set({ said: `The browser does not let this page copy the ${name}.` });
  });
}
