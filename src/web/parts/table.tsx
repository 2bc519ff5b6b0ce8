// A table of texts, of which only the rows that are seen exist.

import type { JSX } from "preact";
import { harmless } from "../../vmstate/shown/text.ts";
import { Rows } from "./rows.tsx";

interface TableProps {
  readonly id: string;
  readonly label: string;
  /** The class that gives the columns their widths. */
  readonly kind: "five" | "fds";
  readonly columns: readonly string[];
  readonly count: number;
  /** The cells of a row, as they came: characters that nobody sees are made visible here. */
  readonly cells: (index: number) => readonly string[];
  /** Index of the selected row; -1 if none is. */
  readonly selected: number;
  readonly onSelect: (index: number) => void;
}

/** The table. */
export function Table({ id, label, kind, columns, count, cells, selected, onSelect }: TableProps): JSX.Element {
  return (
    <Rows
      id={id}
      role="grid"
      label={label}
      count={count}
      selected={selected}
      onSelect={onSelect}
      head={<TableHead columns={columns} kind={kind} />}
      row={(index, rowId) => (
        <div
          key={index}
          id={rowId}
          role="row"
          aria-rowindex={index + 2}
          aria-selected={index === selected}
          tabIndex={-1}
          class={`row ${kind}${index === selected ? " selected" : ""}`}
          onClick={() => onSelect(index)}
        >
          {cells(index)
            .map(harmless)
            .map((text, at) => (
              <span key={columns[at]} role="gridcell" title={text}>
                <bdi>{text}</bdi>
              </span>
            ))}
        </div>
      )}
    />
  );
}

/** The row of headings. */
export function TableHead({
  columns,
  kind,
}: {
  readonly columns: readonly string[];
  readonly kind?: TableProps["kind"] | undefined;
}): JSX.Element {
  return (
    <div class={`row head ${kind ?? ""}`} role="row" aria-rowindex={1}>
      {columns.map((name) => (
        <span key={name} role="columnheader">
          {name}
        </span>
      ))}
    </div>
  );
}
