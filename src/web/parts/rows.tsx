// A list of rows, of which only those that are seen exist: for trees and tables. One row is selected; the keyboard moves it.

import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect } from "preact/hooks";
import { useScroll } from "./scroll.ts";

/** Height of a row in pixels; style.css has the same. */
export const rowHeight = 22;

interface RowsProps {
  readonly id: string;
  readonly role: "tree" | "grid" | "listbox";
  readonly label: string;
  readonly count: number;
  /** Index of the selected row; -1 if none is. */
  readonly selected: number;
  readonly onSelect: (index: number) => void;
  /** The row; its element has the id that `rowId` gives. */
  readonly row: (index: number, id: string) => ComponentChildren;
  /** A row of headings; it does not scroll. */
  readonly head?: JSX.Element | undefined;
  /** Keys that mean more than to move; true if it was one. */
  readonly onKey?: ((event: KeyboardEvent, index: number) => boolean) | undefined;
}

/** Rows that can be scrolled and selected. */
export function Rows({ id, role, label, count, selected, onSelect, row, head, onKey }: RowsProps): JSX.Element {
  const scroll = useScroll(count, rowHeight);
  // Only another selection, other rows, or another height bring a row into view.
  useLayoutEffect(() => {
    if (selected >= 0) scroll.reveal(selected);
  }, [selected, count, scroll.page]);
  const rowId = (index: number): string => `${id}-${index}`;
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const moved = movedBy(event.key, selected, count, scroll.page);
    if (moved !== undefined) onSelect(moved);
    else if (onKey?.(event, selected) !== true) return;
    event.preventDefault();
  };
  const rows: ComponentChildren[] = [];
  for (let index = scroll.first; index < scroll.end; index++) rows.push(row(index, rowId(index)));
  const isThere = selected >= scroll.first && selected < scroll.end;
  return (
    <div class="rows">
      <div
        id={id}
        ref={scroll.ref}
        class="scroll"
        role={role}
        aria-label={label}
        aria-rowcount={role === "grid" ? count + (head === undefined ? 0 : 1) : undefined}
        aria-activedescendant={isThere ? rowId(selected) : undefined}
        tabIndex={0}
        onScroll={scroll.onScroll}
        onKeyDown={onKeyDown}
      >
        {head}
        <div role="presentation" style={{ height: `${scroll.height}px`, position: "relative" }}>
          <div role="presentation" class="window" style={{ top: `${scroll.offset}px` }}>
            {rows}
          </div>
        </div>
      </div>
    </div>
  );
}

function movedBy(key: string, from: number, count: number, page: number): number | undefined {
  const to = {
    ArrowDown: from + 1,
    ArrowUp: from - 1,
    PageDown: from + page,
    PageUp: from - page,
    Home: 0,
    End: count - 1,
  }[key];
  return to === undefined ? undefined : Math.max(0, Math.min(count - 1, to));
}
