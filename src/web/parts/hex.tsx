// Bytes in rows of sixteen, each in the colour of its field. The cursor is a byte; its field is marked as a whole.

import type { JSX } from "preact";
import { useEffect, useLayoutEffect } from "preact/hooks";
import type { FileBytes } from "../state/bytes.ts";
import type { SpanIndex } from "../state/spans.ts";
import { colourOf } from "./colour.ts";
import { rowHeight } from "./rows.tsx";
import { useScroll } from "./scroll.ts";

const perRow = 16;
/** What is not a field, such as RAM's records, is marked as a whole only up to so many bytes. */
const most = 1024;

interface HexProps {
  readonly id: string;
  readonly label: string;
  readonly bytes: FileBytes;
  readonly spans: SpanIndex;
  /** The part that is shown, in bytes. */
  readonly from: number;
  readonly to: number;
  readonly at: number | undefined;
  readonly onSelect: (at: number) => void;
  /** A part that is marked in place of the cursor's field. */
  readonly marked?: { readonly from: number; readonly to: number } | undefined;
}

/** The bytes from `from` to `to`, whole rows of them. */
export function Hex({ id, label, bytes, spans, from, to, at, onSelect, marked }: HexProps): JSX.Element {
  const firstRow = Math.floor(from / perRow);
  const count = Math.max(1, Math.ceil(to / perRow) - firstRow);
  const scroll = useScroll(count, rowHeight);
  const start = (firstRow + scroll.first) * perRow;
  const end = (firstRow + scroll.end) * perRow;
  useEffect(() => bytes.want(start, end - start), [bytes, start, end]);
  // Only another cursor, other bytes, or another height bring a row into view.
  useLayoutEffect(() => {
    if (at !== undefined && at >= from && at < to) scroll.reveal(Math.floor(at / perRow) - firstRow);
  }, [at, from, to, scroll.page]);
  const span = at === undefined ? undefined : spans.at(at);
  const isField = span !== undefined && (span.path !== "" || span.size < most);
  const range = marked ?? (isField ? { from: span.offset, to: span.offset + span.size } : undefined);
  const digits = Math.max(8, (to - 1).toString(16).length);
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.altKey || event.metaKey) return;
    const moved = movedBy(event, at ?? from, from, to, scroll.page);
    if (moved === undefined) return;
    event.preventDefault();
    onSelect(moved);
  };
  const rows: JSX.Element[] = [];
  for (let index = scroll.first; index < scroll.end; index++) {
    const offset = (firstRow + index) * perRow;
    rows.push(
      <HexRow
        key={offset}
        {...{ id, offset, digits, bytes, spans, from, to, range, at, index }}
        loaded={bytes.at(Math.max(offset, from)) !== undefined}
      />,
    );
  }
  const isThere = at !== undefined && at >= start && at < end && at >= from && at < to;
  return (
    <div class="rows hex">
      <div
        id={id}
        ref={scroll.ref}
        class="scroll"
        role="grid"
        aria-label={label}
        aria-rowcount={count}
        aria-colcount={perRow + 2}
        aria-activedescendant={isThere ? `${id}-b${at}` : undefined}
        tabIndex={0}
        onScroll={scroll.onScroll}
        onKeyDown={onKeyDown}
        onClick={(event) => {
          const cell = (event.target as Element).closest("[data-at]");
          if (cell !== null) onSelect(Number(cell.getAttribute("data-at")));
        }}
      >
        <div role="presentation" style={{ height: `${scroll.height}px`, position: "relative" }}>
          <div role="presentation" class="window" style={{ top: `${scroll.offset}px` }}>
            {rows}
          </div>
        </div>
      </div>
    </div>
  );
}

interface HexRowProps {
  readonly id: string;
  readonly index: number;
  readonly offset: number;
  readonly digits: number;
  readonly bytes: FileBytes;
  readonly spans: SpanIndex;
  readonly from: number;
  readonly to: number;
  readonly range: { readonly from: number; readonly to: number } | undefined;
  readonly at: number | undefined;
  readonly loaded: boolean;
}

function HexRow({ id, index, offset, digits, bytes, spans, from, to, range, at }: HexRowProps): JSX.Element {
  const cells: JSX.Element[] = [];
  let text = "";
  let span: ReturnType<SpanIndex["at"]>;
  for (let place = offset; place < offset + perRow; place++) {
    if (place < from || place >= to) {
      cells.push(<i key={place} role="gridcell" class="none" />);
      text += " ";
      continue;
    }
    if (span === undefined || place >= span.offset + span.size) span = spans.at(place);
    const byte = bytes.at(place);
    const marked = range !== undefined && place >= range.from && place < range.to;
    const kind = `${marked ? "marked" : span === undefined || span.path === "" ? "" : "field"}${place === at ? " cursor" : ""}`;
    cells.push(
      <i
        key={place}
        id={`${id}-b${place}`}
        role="gridcell"
        class={kind}
        data-at={place}
        title={span?.text}
        aria-selected={place === at}
        style={marked || span === undefined || span.path === "" ? undefined : { "--hue": colourOf(span.path) }}
      >
        {byte === undefined ? "··" : byte.toString(16).padStart(2, "0")}
      </i>,
    );
    text += byte !== undefined && byte > 0x1f && byte < 0x7f ? String.fromCharCode(byte) : "·";
  }
  return (
    <div class="row" role="row" aria-rowindex={index + 1}>
      <b role="rowheader">{offset.toString(16).padStart(digits, "0")}</b>
      {cells}
      <span role="gridcell" class="text">
        {text}
      </span>
    </div>
  );
}

function movedBy(event: KeyboardEvent, at: number, from: number, to: number, page: number): number | undefined {
  const inRow = at % perRow;
  const step: Readonly<Record<string, number>> = {
    ArrowRight: 1,
    ArrowLeft: -1,
    ArrowDown: perRow,
    ArrowUp: -perRow,
    PageDown: page * perRow,
    PageUp: -page * perRow,
    Home: event.ctrlKey ? from - at : -inRow,
    End: event.ctrlKey ? to - 1 - at : perRow - 1 - inRow,
  };
  const by = step[event.key];
  if (by === undefined || (event.ctrlKey && event.key.startsWith("Arrow"))) return undefined;
  return Math.max(from, Math.min(to - 1, at + by));
}
