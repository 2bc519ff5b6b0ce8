// A CPR state: its fds with what they are, and its bytes in both ABIs.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { counted, printable } from "../../vmstate/shown/text.ts";
import { offsetText } from "../../vmstate/shown/values.ts";
import { Hex } from "../parts/hex.tsx";
import { Rows } from "../parts/rows.tsx";
import { useApp, useAppState } from "../parts/use-app.ts";
import { memoryBytes } from "../state/bytes.ts";
import { fdPurpose } from "../state/fd-names.ts";
import { cprIndex } from "../state/spans.ts";
import type { ShownCpr } from "../worker/protocol.ts";

type Shown = "file" | "list" | "hash";

/** The view. */
export function CprState({ cpr }: { readonly cpr: ShownCpr }): JSX.Element {
  const app = useApp();
  const { at, query } = useAppState();
  const [shown, setShown] = useState<Shown>("file");
  const [otherAt, setOtherAt] = useState<number>();
  const { report, written } = cpr;
  const { bytes, spans } = useMemo(() => {
    const one = shown === "file" ? cpr : written[shown];
    return { bytes: memoryBytes(one.bytes), spans: cprIndex(one.spans) };
  }, [cpr, written, shown]);
  const words = query.trim().toLowerCase();
  const fds = report.fds.filter(({ name }) => name.toLowerCase().includes(words));
  const numbered = report.fds.some(({ fd }) => fd !== null);
  const selected = fds.findIndex(({ offset }) => offset === at);
  const columns = ["name", "id", "what it is", "offset", "fd"];
  return (
    <div class="stack cpr">
      <header class="heading">
        <h2>
          CPR state, {report.abi} ABI, {counted(report.fds.length, "fd")}
        </h2>
        <p>
          {numbered ? "cpr-exec: fds by number" : "cpr-transfer: fds are passed separately"}
          {report.subsections.map(({ name, devices }) => (
            <span key={name}>
              {" "}
              · subsection <bdi>{printable(name)}</bdi>:{" "}
              {devices === null ? "no list" : counted(devices.length, "device")}
            </span>
          ))}
          {report.warnings.map((warning) => (
            <span key={warning} class="warn">
              {" "}
              · {printable(warning)}
            </span>
          ))}
        </p>
      </header>
      <Rows
        id="fds"
        role="grid"
        label="File descriptors"
        count={fds.length}
        selected={selected}
        onSelect={(index) => {
          const one = fds[index];
          if (one === undefined) return;
          setShown("file");
          app.selectByte(one.offset);
        }}
        head={
          <div class="row head fds" role="row" aria-rowindex={1}>
            {columns.map((name) => (
              <span key={name} role="columnheader">
                {name}
              </span>
            ))}
          </div>
        }
        row={(index, id) => {
          const one = fds[index];
          if (one === undefined) return null;
          return (
            <div
              key={one.offset}
              id={id}
              role="row"
              aria-rowindex={index + 2}
              aria-selected={index === selected}
              tabIndex={-1}
              class={index === selected ? "row fds selected" : "row fds"}
              onClick={() => {
                setShown("file");
                app.selectByte(one.offset);
              }}
            >
              {[printable(one.name), one.id, fdPurpose(one.name), offsetText(one.offset), one.fd ?? ""].map(
                (text, at) => (
                  <span key={columns[at]} role="gridcell" title={String(text)}>
                    <bdi>{text}</bdi>
                  </span>
                ),
              )}
            </div>
          );
        }}
      />
      <fieldset class="buttons">
        <legend>Bytes</legend>
        {(["file", "list", "hash"] as const).map((one) => (
          <label key={one}>
            <input type="radio" name="abi" checked={shown === one} onChange={() => setShown(one)} />{" "}
            {one === "file"
              ? `of the file (${counted(cpr.bytes.length, "byte")})`
              : `in the ${one} ABI (${counted(written[one].bytes.length, "byte")})`}
          </label>
        ))}
      </fieldset>
      <Hex
        key={shown}
        id="cpr-bytes"
        label="Bytes of the state"
        bytes={bytes}
        spans={spans}
        from={0}
        to={bytes.size}
        at={shown === "file" ? at : otherAt}
        onSelect={shown === "file" ? app.selectByte : setOtherAt}
      />
      <p class="name" aria-live="polite">
        {spans.at((shown === "file" ? at : otherAt) ?? -1)?.text ?? "Select a byte or an fd."}
      </p>
    </div>
  );
}
