// A qcow2 image: the snapshots that it has, of which one is to be chosen.

import type { JSX } from "preact";
import { printable } from "../../vmstate/shown/text.ts";
import { sizeText } from "../../vmstate/shown/values.ts";
import { useApp } from "../parts/use-app.ts";
import type { Doc } from "../state/app.ts";

/** A button for each snapshot that has a machine's state. */
export function Snapshots({ doc }: { readonly doc: Doc }): JSX.Element {
  const app = useApp();
  const all = doc.opened.snapshots ?? [];
  return (
    <div class="page">
      <h2>
        Snapshots in <bdi>{printable(doc.opened.name)}</bdi>
      </h2>
      {all.length === 0 && <p>The image has none.</p>}
      <ul>
        {all.map(({ id, name, time, stateSize }) => (
          <li key={id}>
            <bdi>{printable(name)}</bdi>, {new Date(time * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC,{" "}
            {stateSize === 0 ? "of the disk only" : sizeText(stateSize)}{" "}
            {stateSize > 0 && (
              <button type="button" onClick={() => void app.open([doc.from], { ...doc.options, snapshot: name })}>
                Show its state
              </button>
            )}
          </li>
        ))}
      </ul>
    </div>
  );
}
