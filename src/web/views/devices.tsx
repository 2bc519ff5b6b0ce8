// The devices: a tree with search, the fields of what is selected as a table, and its bytes. What is selected in one is
// selected in all.

import type { JSX } from "preact";
import { printable } from "../../vmstate/shown/text.ts";
import { sizeText } from "../../vmstate/shown/values.ts";
import { CopyButtons, placeOf } from "../parts/copy.tsx";
import { Hex } from "../parts/hex.tsx";
import { useApp, useAppState } from "../parts/use-app.ts";
import type { Doc } from "../state/app.ts";
import { fieldRows, type SectionRow } from "../state/sections.ts";
import { DeviceTree } from "./device-tree.tsx";
import { FieldTable } from "./field-table.tsx";

/** The view. */
export function Devices({ doc }: { readonly doc: Doc }): JSX.Element {
  const app = useApp();
  const { section, path, at } = useAppState();
  const row = doc.rows.find(({ id }) => id === section);
  return (
    <div class="devices">
      <DeviceTree doc={doc} />
      <div class="stack">
        {row === undefined ? (
          <p class="hint">Select a device. The search above finds names, paths and values.</p>
        ) : (
          <>
            <Heading row={row} path={path} />
            <FieldTable row={row} path={path} onSelect={(one) => app.selectField(row.id, one)} />
            <Hex
              id="device-bytes"
              label="Bytes of the section"
              bytes={doc.bytes}
              spans={doc.spans}
              from={row.section.offset}
              to={Math.max(row.section.offset + row.section.size, row.section.offset + 1)}
              at={at}
              onSelect={app.selectByte}
              marked={markOf(row, path)}
            />
          </>
        )}
      </div>
    </div>
  );
}

/** A structure is marked as a whole. */
function markOf({ section }: SectionRow, path: string): { readonly from: number; readonly to: number } | undefined {
  const field = path === "" ? undefined : fieldRows(section).find((one) => one.path === path)?.field;
  return field?.fields === undefined ? undefined : { from: field.offset, to: field.offset + field.size };
}

function Heading({ row, path }: { readonly row: SectionRow; readonly path: string }): JSX.Element {
  const { section, label, count, size } = row;
  const field = fieldRows(section).find((one) => one.path === path)?.field;
  const words = [
    section.type,
    `version ${section.version}`,
    `0x${section.offset.toString(16)}`,
    sizeText(size),
    ...(count > 1 ? [`${count} sections`] : []),
    ...(section.packaged ? ["packaged"] : []),
  ];
  return (
    <header class="heading">
      <h2>{printable(label)}</h2>
      <p>
        {words.join(" · ")}
        {section.opaque !== undefined && <span class="warn"> {printable(section.opaque)}</span>}
      </p>
      <CopyButtons place={placeOf(label, path, field, section)} />
    </header>
  );
}
