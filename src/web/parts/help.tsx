// The keys.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

const keys: readonly (readonly [string, string])[] = [
  ["/", "search; Enter goes to what was found"],
  ["1 … 7", "the views"],
  ["o", "open a file, or two to compare"],
  ["Tab", "from part to part"],
  ["arrows, Page Up, Page Down, Home, End", "in trees, tables, bytes and the map of RAM"],
  ["right, left, Enter", "in a tree: open, close"],
  ["p, v, j, x, a", "in the table of fields: copy path, value, JSON, offset, address"],
  ["+, −", "in the map of RAM: zoom"],
  ["Ctrl+Home, Ctrl+End", "in bytes: the first, the last"],
  ["t", "dark or light"],
  ["?", "these keys; Escape closes them"],
];

/** A dialog with all keys. */
export function Help({ onClose }: { readonly onClose: () => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby="keys" onClose={onClose}>
      <h2 id="keys">Keys</h2>
      <dl class="facts">{keys.map(([key, what]) => [<dt key={key}>{key}</dt>, <dd key={`${key}:`}>{what}</dd>])}</dl>
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}
