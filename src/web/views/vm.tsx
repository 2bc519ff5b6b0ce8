// A running machine, and what an update would carry: as the server asked it. Nothing here changes it.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { printable } from "../../vmstate/shown/text.ts";
import { Rows } from "../parts/rows.tsx";
import { TreeItem } from "../parts/tree-item.tsx";
import { useAppState } from "../parts/use-app.ts";
import { type JsonRow, jsonRows, member, textOf } from "../state/json-rows.ts";

/** The view. */
export function Vm({ onRefresh }: { readonly onRefresh: () => void }): JSX.Element {
  const { vm } = useAppState();
  if (vm === undefined) return <p class="hint">Asking the machine…</p>;
  const report = vm.preflight;
  const machine = member(report, "vm");
  const fds = member(machine, "fds");
  const facts: readonly (readonly [string, unknown])[] = [
    ["machine", member(machine, "machine")],
    ["QEMU", `${textOf(member(machine, "version"))} (${textOf(member(machine, "program"))})`],
    ["process", member(machine, "pid")],
    ["run state", member(machine, "runState")],
    [
      "new QEMU",
      `${textOf(member(member(report, "new"), "version"))} (${textOf(member(member(report, "new"), "program"))})`,
    ],
    ["mode", member(report, "mode")],
    [
      "fds",
      `${textOf(member(fds, "open"))} open, ${textOf(member(fds, "carried"))} carried by CPR, ${textOf(member(fds, "handed"))} handed over by cprkit`,
    ],
  ];
  return (
    <div class="stack">
      <div class="buttons">
        <button type="button" onClick={onRefresh}>
          Ask again
        </button>
      </div>
      {vm.error !== undefined && <p class="problems">{printable(vm.error)}</p>}
      {report !== undefined && report !== null && (
        <>
          <Findings report={report} />
          <dl class="facts">
            {facts.map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}:`}>{textOf(value)}</dd>])}
          </dl>
          <Carried report={report} />
        </>
      )}
      {vm.machine !== undefined && vm.machine !== null && <Tree value={vm.machine} />}
    </div>
  );
}

function Findings({ report }: { readonly report: unknown }): JSX.Element {
  const findings = listOf(member(report, "findings"));
  const ok = member(report, "ok") === true;
  return (
    <section aria-label="Preflight" class={ok ? "fine" : "problems"}>
      <p>
        <strong>{ok ? "Nothing is in the way of an update" : "An update would be refused"}</strong>
      </p>
      <ul>
        {findings.map((one, index) => (
          <li key={`${index}:${textOf(member(one, "code"))}`}>
            {textOf(member(one, "severity"))}: {textOf(member(one, "message"))}{" "}
            <code>{textOf(member(one, "code"))}</code>
            <br />
            {textOf(member(one, "remedy"))}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Carried({ report }: { readonly report: unknown }): JSX.Element | null {
  const carried = listOf(member(report, "carried"));
  const ways = listOf(member(report, "ways"));
  return (
    <>
      <h2>What an update would carry itself</h2>
      {carried.length === 0 ? (
        <p>Nothing: QEMU's CPR carries all there is.</p>
      ) : (
        <ul>
          {carried.map((one, index) => (
            <li key={`${index}`}>{textOf(member(one, "what"))}</li>
          ))}
        </ul>
      )}
      {ways.length > 0 && (
        <p>
          Ways:{" "}
          {ways
            .map((way) => `${textOf(member(way, "mode"))} ${member(way, "ok") === true ? "works" : "does not work"}`)
            .join(", ")}
        </p>
      )}
    </>
  );
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** All that was read of the machine. */
function Tree({ value }: { readonly value: unknown }): JSX.Element {
  const { query } = useAppState();
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const [selected, setSelected] = useState(0);
  const rows = useMemo(() => jsonRows(value, opened, query.trim().toLowerCase()), [value, opened, query]);
  const setOpen = ({ path }: JsonRow, open: boolean): void => {
    const next = new Set(opened);
    if (open) next.add(path);
    else next.delete(path);
    setOpened(next);
  };
  return (
    <>
      <h2>The machine</h2>
      <Rows
        id="machine"
        role="tree"
        label="The machine as it is"
        count={rows.length}
        selected={Math.min(selected, rows.length - 1)}
        onSelect={setSelected}
        onKey={({ key }, index) => {
          const row = rows[index];
          if (row?.open === undefined) return false;
          if (key === "Enter") setOpen(row, !row.open);
          else if (key === "ArrowRight") setOpen(row, true);
          else if (key === "ArrowLeft") setOpen(row, false);
          else return false;
          return true;
        }}
        row={(index, id) => {
          const row = rows[index];
          if (row === undefined) return null;
          return (
            <TreeItem
              key={row.path}
              {...{ id, index }}
              count={rows.length}
              level={row.level}
              selected={index === selected}
              open={row.open}
              text={row.name}
              note={row.text}
              onClick={() => {
                setSelected(index);
                if (row.open !== undefined) setOpen(row, !row.open);
              }}
            />
          );
        }}
      />
    </>
  );
}
