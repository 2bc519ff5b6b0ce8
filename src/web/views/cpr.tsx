// A CPR state: its fds with what they are, and its bytes in both ABIs.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { ReportedFd } from "../../cpr/index.ts";
import { counted, printable } from "../../vmstate/shown/text.ts";
import { offsetText } from "../../vmstate/shown/values.ts";
import { Hex } from "../parts/hex.tsx";
import { Table } from "../parts/table.tsx";
import { useApp, useAppState } from "../parts/use-app.ts";
import { memoryBytes } from "../state/bytes.ts";
import { fdPurpose } from "../state/fd-names.ts";
import { cprIndex } from "../state/spans.ts";
import type { ShownCpr } from "../worker/protocol.ts";

type Shown = "file" | "list" | "hash";

const columns = ["name", "id", "what it is", "offset", "fd"];

function cellsOf(one: ReportedFd | undefined): readonly string[] {
  if (one === undefined) return [];
  const { name, id, offset, fd } = one;
  return [name, String(id), fdPurpose(name), offsetText(offset), fd === null ? "" : String(fd)];
}

/** What bytes there are to be shown. */
function shownOf({ bytes, written }: ShownCpr): { readonly one: Shown; readonly text: string }[] {
  const size = (all: Uint8Array) => counted(all.length, "byte");
  const file = { one: "file", text: `of the file (${size(bytes)})` } as const;
  if (written === undefined) return [file];
  const abis = (["list", "hash"] as const).map((one) => ({
    one,
    text: `in the ${one} ABI (${size(written[one].bytes)})`,
  }));
  return [file, ...abis];
}

/** The view. */
export function CprState({
  cpr,
  damage,
}: {
  readonly cpr: ShownCpr;
  readonly damage: string | undefined;
}): JSX.Element {
  const app = useApp();
  const { at, query } = useAppState();
  const [shown, setShown] = useState<Shown>("file");
  const [otherAt, setOtherAt] = useState<number>();
  const { report, written } = cpr;
  const { bytes, spans } = useMemo(() => {
    const one = shown === "file" ? cpr : (written?.[shown] ?? cpr);
    return { bytes: memoryBytes(one.bytes), spans: cprIndex(one.spans) };
  }, [cpr, written, shown]);
  const words = query.trim().toLowerCase();
  const fds = report.fds.filter(({ name }) => name.toLowerCase().includes(words));
  const numbered = report.fds.some(({ fd }) => fd !== null);
  const selected = fds.findIndex(({ offset }) => offset === at);
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
          {damage !== undefined && <span class="warn"> · what came before the damage: {printable(damage)}</span>}
          {report.warnings.map((warning) => (
            <span key={warning} class="warn">
              {" "}
              · {printable(warning)}
            </span>
          ))}
        </p>
      </header>
      <Table
        id="fds"
        label="File descriptors"
        kind="fds"
        columns={columns}
        count={fds.length}
        cells={(index) => cellsOf(fds[index])}
        selected={selected}
        onSelect={(index) => {
          setShown("file");
          app.selectByte(fds[index]?.offset ?? 0);
        }}
      />
      <fieldset class="buttons">
        <legend>Bytes</legend>
        {shownOf(cpr).map(({ one, text }) => (
          <label key={one}>
            <input type="radio" name="abi" checked={shown === one} onChange={() => setShown(one)} /> {text}
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
