// The stream from its first byte to its last, to scale.

import type { JSX } from "preact";
import type { Section } from "../../../migration/index.ts";
import { printable } from "../../../vmstate/shown/text.ts";
import { sizeText } from "../../../vmstate/shown/values.ts";
import { colourOf } from "../../parts/colour.ts";
import { useApp } from "../../parts/use-app.ts";
import type { Doc } from "../../state/app.ts";

/** Parts narrower than this share of the whole are drawn together with what is beside them. */
const least = 1 / 600;

/** A click goes to the bytes there. */
export function Strip({ doc }: { readonly doc: Doc }): JSX.Element {
  const app = useApp();
  const size = Math.max(1, doc.opened.size);
  return (
    <svg
      class="strip"
      role="img"
      aria-label="The stream's sections, from its first byte to its last"
      viewBox="0 0 1000 24"
      preserveAspectRatio="none"
    >
      {runs(doc.opened.migration?.sections ?? [], size).map(({ from, to, name }) => (
        <rect
          key={from}
          x={(from / size) * 1000}
          width={Math.max(0.5, ((to - from) / size) * 1000)}
          height="24"
          style={{ "--hue": colourOf(name) }}
          onClick={() => {
            app.selectByte(from);
            app.set({ view: "bytes" });
          }}
        >
          <title>{`${printable(name)}: ${sizeText(to - from)} at 0x${from.toString(16)}`}</title>
        </rect>
      ))}
    </svg>
  );
}

interface Run {
  readonly from: number;
  readonly to: number;
  readonly name: string;
}

/** Sections of one name that follow each other are one run; small ones are one run together. */
function runs(sections: readonly Section[], size: number): Run[] {
  const found: Run[] = [];
  for (const { offset, size: length, name } of sections) {
    const last = found.at(-1);
    const to = offset + length;
    const isSmall = last !== undefined && last.to - last.from < size * least && length < size * least;
    if (last !== undefined && (last.name === name || isSmall)) {
      found[found.length - 1] = { ...last, to, name: last.name === name ? name : "small sections" };
    } else found.push({ from: offset, to, name });
  }
  return found;
}
