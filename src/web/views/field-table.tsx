// The fields of a section as a table.

import type { JSX } from "preact";
import { printable } from "../../vmstate/shown/text.ts";
import { offsetText } from "../../vmstate/shown/values.ts";
import { colourOf } from "../parts/colour.ts";
import { copies, copy, copyAddress, placeOf } from "../parts/copy.tsx";
import { Rows } from "../parts/rows.tsx";
import { TableHead } from "../parts/table.tsx";
import { useApp } from "../parts/use-app.ts";
import { macroOf } from "../state/macros.ts";
import { fieldRows, type SectionRow, shownName, shownValue } from "../state/sections.ts";

interface FieldTableProps {
  readonly row: SectionRow;
  readonly path: string;
  readonly onSelect: (path: string) => void;
}

const columns = ["field", "value", "type", "QEMU's macro", "offset", "bytes"];

/** All fields, those inside others behind them. */
export function FieldTable({ row, path, onSelect }: FieldTableProps): JSX.Element {
  const app = useApp();
  const fields = fieldRows(row.section);
  const selected = path === "" ? -1 : fields.findIndex((one) => one.path === path);
  return (
    <Rows
      id="fields"
      role="grid"
      label="Fields"
      count={fields.length}
      selected={selected}
      onSelect={(index) => onSelect(fields[index]?.path ?? "")}
      onKey={({ key }, index) => {
        const one = fields[index];
        const wanted = copies.find((each) => each.key === key);
        if (key === "a") copyAddress(app);
        else if (wanted === undefined || one === undefined) return false;
        else copy(wanted.text(placeOf(row.label, one.path, one.field, row.section)), wanted.name, app.set);
        return true;
      }}
      head={<TableHead columns={columns} />}
      row={(index, id) => {
        const one = fields[index];
        if (one === undefined) return null;
        const { field, depth } = one;
        const cells = [
          shownValue(field),
          printable(field.type),
          macroOf(field) ?? "",
          offsetText(field.offset),
          field.size,
        ];
        return (
          <div
            key={one.path}
            id={id}
            role="row"
            aria-rowindex={index + 2}
            aria-selected={index === selected}
            tabIndex={-1}
            class={index === selected ? "row selected" : "row"}
            onClick={() => onSelect(one.path)}
          >
            <span role="gridcell" title={printable(one.path)} style={{ paddingLeft: `${8 + depth * 14}px` }}>
              <u
                aria-hidden="true"
                style={field.fields === undefined ? { "--hue": colourOf(one.path) } : { background: "none" }}
              />
              <bdi>{shownName(field)}</bdi>
            </span>
            {cells.map((text, at) => (
              <span key={columns[at + 1]} role="gridcell" title={String(text)}>
                <bdi>{text}</bdi>
              </span>
            ))}
          </div>
        );
      }}
    />
  );
}
