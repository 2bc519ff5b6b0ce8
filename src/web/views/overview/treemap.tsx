// The sections as areas to scale.

import { hierarchy, treemap, treemapSquarify } from "d3-hierarchy";
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { printable } from "../../../vmstate/shown/text.ts";
import { sizeText } from "../../../vmstate/shown/values.ts";
import { colourOf } from "../../parts/colour.ts";
import { useApp } from "../../parts/use-app.ts";
import type { SectionRow } from "../../state/sections.ts";

const width = 1000;
const height = 260;
/** More areas than this cannot be told apart. */
const most = 400;

interface Part {
  readonly name: string;
  readonly size: number;
  readonly id: number | undefined;
  readonly parts?: readonly Part[];
}

/** The largest sections, and the rest in one area. A click goes to the device. */
export function Treemap({ rows }: { readonly rows: readonly SectionRow[] }): JSX.Element {
  const app = useApp();
  const leaves = useMemo(() => {
    const sorted = [...rows].sort((a, b) => b.size - a.size);
    const parts: Part[] = sorted.slice(0, most).map(({ label, size, id }) => ({ name: label, size, id }));
    const rest = sorted.slice(most);
    const size = rest.reduce((sum, row) => sum + row.size, 0);
    if (size > 0) parts.push({ name: `${rest.length} more`, size, id: undefined });
    const root = hierarchy<Part>({ name: "", size: 0, id: undefined, parts }, ({ parts: inside }) => inside).sum(
      (part) => part.size,
    );
    return treemap<Part>().tile(treemapSquarify).size([width, height]).padding(1)(root).leaves();
  }, [rows]);
  return (
    <svg class="treemap" role="img" aria-label="The sections' sizes as areas" viewBox={`0 0 ${width} ${height}`}>
      {leaves.map(({ x0, x1, y0, y1, data }) => (
        <g
          key={data.id ?? "rest"}
          onClick={() => {
            if (data.id === undefined) return;
            app.selectSection(data.id);
            app.set({ view: "devices" });
          }}
        >
          <rect x={x0} y={y0} width={x1 - x0} height={y1 - y0} style={{ "--hue": colourOf(data.name) }} />
          <title>{`${printable(data.name)}: ${sizeText(data.size)}`}</title>
          {x1 - x0 > 70 && y1 - y0 > 16 && (
            <text x={x0 + 4} y={y0 + 13}>
              {shortened(data.name, Math.floor((x1 - x0 - 8) / 7))}
            </text>
          )}
        </g>
      ))}
    </svg>
  );
}

function shortened(name: string, length: number): string {
  const shown = printable(name.split("/").at(-1) ?? name);
  return shown.length > length ? `${shown.slice(0, length - 1)}…` : shown;
}
