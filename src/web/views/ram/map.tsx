// The map of a block's pages on a canvas: a cell for one page, or for many of them.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { grouped } from "../../../vmstate/shown/text.ts";
import { useApp } from "../../parts/use-app.ts";
import type { Doc } from "../../state/app.ts";
import { cellKinds } from "../../worker/protocol.ts";

const columns = 128;
const rows = 48;
const cells = columns * rows;
const cellSize = 8;

/** In the order of {@link cellKinds}; the last is what is not in the stream at all. Both themes have enough contrast with them. */
const colours = ["#c2641b", "#9aa5b1", "#8a5bb8", "#2a8a62", "#dfe3e8"] as const;
const sharedColour = "#3a78b5";
const names = ["data", "zeros", "xbzrle", "compressed", "absent"] as const;

interface RamMapProps {
  readonly doc: Doc;
  readonly block: string;
  readonly pages: number;
  /** None of its pages is in the stream, because the memory is shared. */
  readonly shared: boolean;
  readonly page: number;
  readonly onPage: (page: number) => void;
}

/** Arrows move from cell to cell, + and - zoom, Home and End go to the first and last page. */
export function RamMap({ doc, block, pages, shared, page, onPage }: RamMapProps): JSX.Element {
  const app = useApp();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [perCell, setPerCell] = useState(() => whole(pages));
  const span = perCell * cells;
  // The part of the block that has the page, in whole steps: it stays while one moves inside.
  const first = Math.floor(page / span) * span;
  useEffect(() => {
    let isOld = false;
    void (async () => {
      const { counts } = await app.client.ask("map", { doc: doc.id, block, first, perCell, cells });
      if (!isOld && canvas.current !== null) draw(canvas.current, counts, { first, perCell, pages, shared, page });
    })();
    return () => {
      isOld = true;
    };
  }, [app, doc.id, doc.ram, doc.ram === "reading" ? doc.done : 0, block, first, perCell, pages, shared, page]);
  const zoom = (by: number): void =>
    setPerCell(Math.max(1, Math.min(whole(pages), by < 0 ? Math.ceil(perCell / 4) : perCell * 4)));
  const go = (to: number): void => onPage(Math.max(0, Math.min(pages - 1, to)));
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const cell = page - (page % perCell);
    const to: Readonly<Record<string, number>> = {
      ArrowRight: cell + perCell,
      ArrowLeft: cell - perCell,
      ArrowDown: cell + perCell * columns,
      ArrowUp: cell - perCell * columns,
      PageDown: cell + span,
      PageUp: cell - span,
      Home: 0,
      End: pages - 1,
    };
    const moved = to[event.key];
    if (moved !== undefined) go(moved);
    else if (event.key === "+" || event.key === "=") zoom(-1);
    else if (event.key === "-") zoom(1);
    else return;
    event.preventDefault();
  };
  return (
    <figure class="map">
      <canvas
        ref={canvas}
        width={columns * cellSize}
        height={rows * cellSize}
        role="application"
        aria-label={`Map of the block's pages; page ${page} of ${pages} is selected; arrows move, plus and minus zoom`}
        tabIndex={0}
        onKeyDown={onKeyDown}
        onWheel={(event) => {
          event.preventDefault();
          zoom(event.deltaY);
        }}
        onClick={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
          const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
          go(first + (row * columns + column) * perCell);
        }}
      />
      <figcaption>
        <span>
          pages {grouped(first)} to {grouped(Math.min(pages, first + span) - 1)},{" "}
          {perCell === 1 ? "a cell a page" : `${grouped(perCell)} pages a cell`}
        </span>
        <button type="button" onClick={() => zoom(-1)} disabled={perCell === 1}>
          Zoom in
        </button>
        <button type="button" onClick={() => zoom(1)} disabled={perCell === whole(pages)}>
          Zoom out
        </button>
        {names.map((name, at) => (
          <span key={name}>
            <i class="swatch" style={{ background: colours[at] }} /> {name}
          </span>
        ))}
        <span>
          <i class="swatch" style={{ background: sharedColour }} /> shared
        </span>
      </figcaption>
    </figure>
  );
}

/** Pages in a cell when the map shows all. A power of four, so that zooming keeps to whole cells. */
function whole(pages: number): number {
  let perCell = 1;
  while (perCell * cells < pages) perCell *= 4;
  return perCell;
}

interface Drawn {
  readonly first: number;
  readonly perCell: number;
  readonly pages: number;
  readonly shared: boolean;
  readonly page: number;
}

/** A cell of several kinds is divided between them, from below. */
function draw(canvas: HTMLCanvasElement, counts: Uint32Array, { first, perCell, pages, shared, page }: Drawn): void {
  const context = canvas.getContext("2d");
  if (context === null) return;
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (let cell = 0; cell < cells && first + cell * perCell < pages; cell++) {
    const x = (cell % columns) * cellSize;
    let y = (Math.floor(cell / columns) + 1) * cellSize;
    const own = counts.subarray(cell * cellKinds.length, (cell + 1) * cellKinds.length);
    const total = own.reduce((sum, count) => sum + count, 0);
    for (const [kind, count] of own.entries()) {
      if (count === 0) continue;
      // What there is little of is seen all the same.
      const height = Math.max(1, (count / total) * (cellSize - 1));
      context.fillStyle = shared && kind === 4 ? sharedColour : (colours[kind] ?? sharedColour);
      context.fillRect(x, y - height, cellSize - 1, height);
      y -= height;
    }
  }
  const cell = Math.floor((page - first) / perCell);
  context.strokeStyle = "#d00030";
  context.lineWidth = 2;
  context.strokeRect(
    (cell % columns) * cellSize - 0.5,
    Math.floor(cell / columns) * cellSize + 0.5,
    cellSize,
    cellSize,
  );
}
