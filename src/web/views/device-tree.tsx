// The tree of devices: sections, and in them the structures; while something is looked for, what was found.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { FieldNode } from "../../migration/index.ts";
import { counted, printable } from "../../vmstate/shown/text.ts";
import { sizeText } from "../../vmstate/shown/values.ts";
import { colourOf } from "../parts/colour.ts";
import { Rows } from "../parts/rows.tsx";
import { TreeItem } from "../parts/tree-item.tsx";
import { useApp, useAppState } from "../parts/use-app.ts";
import type { Doc } from "../state/app.ts";
import { type FieldRow, fieldRows, matchingFields, type SectionRow, shownName, shownValue } from "../state/sections.ts";

interface Node {
  readonly key: string;
  readonly row: SectionRow;
  /** Undefined for the section itself. */
  readonly field: FieldRow | undefined;
  readonly level: number;
  readonly text: string;
  readonly note: string;
  /** Undefined for what has nothing inside. */
  readonly open: boolean | undefined;
}

/** The tree of the file's devices. */
export function DeviceTree({ doc }: { readonly doc: Doc }): JSX.Element {
  const app = useApp();
  const { section, path, query } = useAppState();
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const words = query.trim().toLowerCase();
  const nodes = useMemo(
    () => (words === "" ? treeNodes(doc.rows, opened) : foundNodes(doc.rows, words)),
    [doc.rows, words, opened],
  );
  const own = nodes.findIndex(({ row, field }) => row.id === section && (field?.path ?? "") === path);
  const selected = own >= 0 ? own : nodes.findIndex(({ row, field }) => row.id === section && field === undefined);
  const setOpen = ({ key }: Node, open: boolean): void => {
    const next = new Set(opened);
    if (open) next.add(key);
    else next.delete(key);
    setOpened(next);
  };
  const onKey = ({ key }: KeyboardEvent, index: number): boolean => {
    const node = nodes[index];
    if (node === undefined) return false;
    if (key === "ArrowRight" && node.open === false) setOpen(node, true);
    else if (key === "ArrowLeft" && node.open === true) setOpen(node, false);
    else if (key === "ArrowLeft" && node.level > 1) {
      const outer = nodes.findLast((one, at) => at < index && one.level < node.level);
      if (outer !== undefined) app.selectField(outer.row.id, outer.field?.path ?? "");
    } else if (key === "Enter" && node.open !== undefined) setOpen(node, !node.open);
    else return false;
    return true;
  };
  return (
    <div class="tree">
      <p class="count" aria-live="polite">
        {words === ""
          ? `${doc.rows.length} sections`
          : `${counted(nodes.filter(({ field }) => field).length, "field")} found`}
      </p>
      <Rows
        id="tree"
        role="tree"
        label="Devices"
        count={nodes.length}
        selected={selected}
        onSelect={(index) => {
          const node = nodes[index];
          if (node !== undefined) app.selectField(node.row.id, node.field?.path ?? "");
        }}
        onKey={onKey}
        row={(index, id) => {
          const node = nodes[index];
          if (node === undefined) return null;
          return (
            <TreeItem
              key={node.key}
              {...{ id, index }}
              count={nodes.length}
              level={node.level}
              selected={index === selected}
              open={node.open}
              text={node.text}
              note={node.note}
              hue={colourOf(node.row.label)}
              onClick={() => {
                if (node.open !== undefined && index === selected) setOpen(node, !node.open);
                app.selectField(node.row.id, node.field?.path ?? "");
              }}
            />
          );
        }}
      />
    </div>
  );
}

function sectionNode(row: SectionRow, open: boolean | undefined): Node {
  const { label, count, section, size } = row;
  const note = `${count > 1 ? `${count}× ` : ""}v${section.version} · ${sizeText(size)}`;
  return { key: `${row.id}:`, row, field: undefined, level: 1, text: printable(label), note, open };
}

function treeNodes(rows: readonly SectionRow[], opened: ReadonlySet<string>): Node[] {
  const nodes: Node[] = [];
  const add = (row: SectionRow): void => {
    const structures = fieldRows(row.section).filter(({ field }) => hasParts(field));
    const key = `${row.id}:`;
    const open = structures.length === 0 ? undefined : opened.has(key);
    nodes.push(sectionNode(row, open));
    if (open !== true) return;
    // What is inside something closed is left out.
    let closedAt = Number.POSITIVE_INFINITY;
    for (const [index, one] of structures.entries()) {
      if (one.depth > closedAt) continue;
      const inner = `${key}${one.path}`;
      const holdsMore = (structures[index + 1]?.depth ?? 0) > one.depth;
      const isOpen = holdsMore ? opened.has(inner) : undefined;
      closedAt = isOpen === false ? one.depth : Number.POSITIVE_INFINITY;
      const note = `${one.field.fields?.length ?? 0}`;
      nodes.push({ key: inner, row, field: one, level: one.depth + 2, text: shownName(one.field), note, open: isOpen });
    }
  };
  for (const row of rows) add(row);
  return nodes;
}

function foundNodes(rows: readonly SectionRow[], words: string): Node[] {
  const nodes: Node[] = [];
  for (const row of rows) {
    const fields = matchingFields(row.section, words);
    if (fields.length === 0 && !row.label.toLowerCase().includes(words)) continue;
    nodes.push(sectionNode(row, fields.length === 0 ? undefined : true));
    for (const field of fields) {
      const key = `${row.id}:${field.path}`;
      nodes.push({
        key,
        row,
        field,
        level: 2,
        text: printable(field.path),
        note: shownValue(field.field),
        open: undefined,
      });
    }
  }
  return nodes;
}

function hasParts({ fields }: FieldNode): boolean {
  return fields !== undefined && fields.length > 0;
}
