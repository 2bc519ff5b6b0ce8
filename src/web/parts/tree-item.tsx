// A row of a tree.

import type { JSX } from "preact";

interface TreeItemProps {
  readonly id: string;
  readonly index: number;
  readonly count: number;
  /** From 1 on. */
  readonly level: number;
  readonly selected: boolean;
  /** Undefined for what has nothing inside. */
  readonly open: boolean | undefined;
  readonly text: string;
  /** Behind it, such as a size. */
  readonly note: string;
  /** A hue from 0 to 359. */
  readonly hue?: number | undefined;
  readonly onClick: () => void;
}

/** The row; its texts are printable already. */
export function TreeItem({
  id,
  index,
  count,
  level,
  selected,
  open,
  text,
  note,
  hue,
  onClick,
}: TreeItemProps): JSX.Element {
  return (
    <div
      id={id}
      role="treeitem"
      aria-level={level}
      aria-selected={selected}
      aria-expanded={open}
      aria-setsize={count}
      aria-posinset={index + 1}
      tabIndex={-1}
      class={selected ? "item selected" : "item"}
      style={{ paddingLeft: `${level * 14}px` }}
      onClick={onClick}
    >
      <s aria-hidden="true">{open === undefined ? "" : open ? "▾" : "▸"}</s>
      {hue !== undefined && <u aria-hidden="true" style={{ "--hue": hue }} />}
      <bdi>{text}</bdi>
      <em>{note}</em>
    </div>
  );
}
