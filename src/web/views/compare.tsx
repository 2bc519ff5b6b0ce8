// Two streams side by side: whether one can be loaded where the other was saved, and only what differs.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { CprDifference } from "../../cpr/index.ts";
import type { CheckFinding, Difference, DifferenceSide, Explanation } from "../../migration/index.ts";
import { differencesToJson } from "../../migration/json.ts";
import { counted, printable } from "../../vmstate/shown/text.ts";
import { offsetText, valueText } from "../../vmstate/shown/values.ts";
import { copy } from "../parts/copy.tsx";
import { Table } from "../parts/table.tsx";
import { useApp, useAppState } from "../parts/use-app.ts";
import type { Compared } from "../worker/protocol.ts";

/** The view. */
export function Compare(): JSX.Element {
  const { docs, compared } = useAppState();
  const [a, b] = docs;
  return (
    <div class="stack compare">
      {a === undefined || b === undefined || compared === undefined ? (
        <p class="hint">Drop a second file, or two at once, or choose one with “Compare with…”.</p>
      ) : (
        <>
          <h2>
            <bdi>{printable(a.opened.name)}</bdi> and <bdi>{printable(b.opened.name)}</bdi>
          </h2>
          <Verdict compared={compared} />
          {compared.cpr === undefined ? <Differences compared={compared} /> : <CprDifferences all={compared.cpr} />}
        </>
      )}
      <Log />
    </div>
  );
}

/** What `check` says of loading the first on the machine that saved the second. */
function Verdict({ compared: { findings, explanations, unchecked } }: { readonly compared: Compared }): JSX.Element {
  const errors = findings.filter(({ severity }) => severity === "error").length;
  const verdict =
    unchecked !== undefined
      ? `No verdict: ${printable(unchecked)}`
      : errors > 0
        ? `The second machine cannot load the first stream: ${counted(errors, "error")}, ${counted(findings.length - errors, "warning")}`
        : `Nothing is in the way of loading the first stream on the second machine${findings.length > 0 ? `, ${counted(findings.length, "warning")}` : ""}`;
  return (
    <section aria-label="Verdict" class={errors > 0 || unchecked !== undefined ? "problems" : "fine"}>
      <p>
        <strong>{verdict}</strong>
      </p>
      {findings.slice(0, 200).map((finding, index) => (
        <Finding key={`${index}:${finding.message}`} finding={finding} explanation={explanations[index]} />
      ))}
      {findings.length > 200 && <p>and {findings.length - 200} more</p>}
    </section>
  );
}

interface FindingProps {
  readonly finding: CheckFinding;
  readonly explanation: Explanation | undefined;
}

function Finding({ finding, explanation }: FindingProps): JSX.Element {
  const { severity, code, section, path, message } = finding;
  const place = [section, path].filter((part) => part !== "").map(printable);
  return (
    <details>
      <summary>
        {severity}: {place.length > 0 && <bdi>{place.join(": ")}: </bdi>}
        {printable(message)} <code>{code}</code>
      </summary>
      {explanation === undefined ? <p>QEMU says nothing of its own here.</p> : <Explained one={explanation} />}
    </details>
  );
}

function Explained({ one: { code, what, why, remedy, said } }: { readonly one: Explanation }): JSX.Element {
  return (
    <dl class="facts">
      <dt>what</dt>
      <dd>
        {printable(what)} <code>{code}</code>
      </dd>
      <dt>why</dt>
      <dd>{printable(why)}</dd>
      <dt>do</dt>
      <dd>{printable(remedy)}</dd>
      <dt>QEMU says</dt>
      <dd>
        <code>{printable(said)}</code>
      </dd>
    </dl>
  );
}

const columns = ["section", "path", "what", "in the first", "in the second"];

function Differences({ compared: { differences } }: { readonly compared: Compared }): JSX.Element {
  const app = useApp();
  const { query } = useAppState();
  const [selected, setSelected] = useState(-1);
  const words = query.trim().toLowerCase();
  const shown = differences.filter((one) => words === "" || cellsOf(one).join(" ").toLowerCase().includes(words));
  const one = shown[selected];
  const show = (doc: number, side: DifferenceSide | undefined): JSX.Element | null =>
    side?.offset === undefined ? null : (
      <button
        type="button"
        onClick={() => {
          app.set({ current: doc, view: "bytes" });
          app.selectByte(side.offset ?? 0);
        }}
      >
        show it in the {doc === 0 ? "first" : "second"}
      </button>
    );
  return (
    <>
      <div class="buttons">
        <span class="count" aria-live="polite">
          {counted(differences.length, "difference")}
          {words === "" ? "" : `, ${shown.length} found`}
        </span>
        <button
          type="button"
          onClick={() =>
            copy(JSON.stringify({ differences: differencesToJson(differences) }, undefined, 2), "JSON", app.set)
          }
        >
          Copy as JSON
        </button>
        {one !== undefined && show(0, one.a)}
        {one !== undefined && show(1, one.b)}
      </div>
      <Table
        id="differences"
        label="Differences"
        kind="five"
        columns={columns}
        count={shown.length}
        cells={(index) => cellsOf(shown[index])}
        selected={selected}
        onSelect={setSelected}
      />
    </>
  );
}

function cellsOf(one: Difference | undefined): readonly string[] {
  return one === undefined ? [] : [one.section, one.path, one.kind, sideText(one.a), sideText(one.b)];
}

function sideText(side: DifferenceSide | undefined): string {
  if (side === undefined) return "—";
  const place = side.offset === undefined ? "" : ` at ${offsetText(side.offset)}`;
  return `${side.value === undefined ? "there" : valueText(side.value)}${place}`;
}

function CprDifferences({ all }: { readonly all: readonly CprDifference[] }): JSX.Element {
  const [selected, setSelected] = useState(-1);
  const side = (place: { readonly offset: number; readonly fd: number | null } | undefined): string =>
    place === undefined ? "—" : `${place.fd === null ? "" : `${place.fd} `}at ${offsetText(place.offset)}`;
  const rows = all.map((one): string[] => {
    switch (one.kind) {
      case "fd":
        return ["fd", one.name, String(one.id), side(one.a), side(one.b)];
      case "order":
        return ["order", "", "", "the same fds, in another order", ""];
      default:
        return [one.kind, one.kind === "subsection" ? one.name : "", "", one.a ?? "—", one.b ?? "—"];
    }
  });
  return (
    <>
      <p class="count">{counted(all.length, "difference")}</p>
      <Table
        id="differences"
        label="Differences"
        kind="five"
        columns={["what", "name", "id", "in the first", "in the second"]}
        count={rows.length}
        cells={(index) => rows[index] ?? []}
        selected={selected}
        onSelect={setSelected}
      />
    </>
  );
}

/** What QEMU said, in plain words; with the stream, devices and registers have names. */
function Log(): JSX.Element {
  const app = useApp();
  const { docs, current } = useAppState();
  const [found, setFound] = useState<readonly Explanation[]>();
  return (
    <details class="log">
      <summary>Explain what QEMU said</summary>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const log = new FormData(event.currentTarget).get("log")?.toString() ?? "";
          setFound(await app.client.ask("explain", { doc: docs[current]?.id, log }));
        }}
      >
        <label>
          The destination's log
          <textarea name="log" rows={5} spellcheck={false} />
        </label>
        <button type="submit">Explain</button>
      </form>
      {found?.length === 0 && <p>The log has no failed load that is known.</p>}
      {found?.map((one) => (
        <Explained key={`${one.line}:${one.code}`} one={one} />
      ))}
    </details>
  );
}
