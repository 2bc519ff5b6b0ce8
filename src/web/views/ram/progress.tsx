// How far guest RAM has been read; to be given up, and begun anew.

import type { JSX } from "preact";
import { sizeText } from "../../../vmstate/shown/values.ts";
import { useApp } from "../../parts/use-app.ts";
import type { Doc } from "../../state/app.ts";

/** Nothing once it has been read. */
export function RamProgress({ doc }: { readonly doc: Doc }): JSX.Element | null {
  const app = useApp();
  const { ram, done, opened } = doc;
  if (ram === "read") return null;
  if (ram === "given up") {
    return (
      <p class="progress">
        Guest RAM was not read to its end.{" "}
        <button type="button" onClick={() => void app.readRam(doc)}>
          Read guest RAM
        </button>
      </p>
    );
  }
  return (
    <p class="progress">
      <label>
        Reading guest RAM <progress max={opened.size} value={done} />
      </label>{" "}
      {sizeText(done)} of {sizeText(opened.size)}{" "}
      <button type="button" onClick={() => app.cancelRam(doc)}>
        Cancel
      </button>
    </p>
  );
}
