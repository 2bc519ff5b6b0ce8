// All bytes of the file, and what is at the cursor.

import type { JSX } from "preact";
import { printable } from "../../vmstate/shown/text.ts";
import { Hex } from "../parts/hex.tsx";
import { Integers } from "../parts/integers.tsx";
import { useApp, useAppState } from "../parts/use-app.ts";
import type { Doc } from "../state/app.ts";

/** The view. */
export function Bytes({ doc }: { readonly doc: Doc }): JSX.Element {
  const app = useApp();
  const { at, path, section } = useAppState();
  const span = at === undefined ? undefined : doc.spans.at(at);
  const row = doc.rows.find(({ id }) => id === section);
  const goTo = (text: string): void => {
    const offset = /^\s*(0x[\da-f]{1,13}|\d{1,15})\s*$/i.test(text) ? Number(text) : Number.NaN;
    if (offset >= 0 && offset < doc.opened.size) app.selectByte(offset);
    else
      app.set({
        said: `There is no byte "${text}": offsets are numbers such as 4096 or 0x1000, below ${doc.opened.size}.`,
      });
  };
  return (
    <div class="bytes">
      <Hex
        id="bytes"
        label="Bytes of the file"
        bytes={doc.bytes}
        spans={doc.spans}
        from={0}
        to={Math.max(1, doc.opened.size)}
        at={at}
        onSelect={app.selectByte}
      />
      <aside aria-label="At the cursor">
        <form
          onSubmit={(event) => {
            event.preventDefault();
            goTo(new FormData(event.currentTarget).get("offset")?.toString() ?? "");
          }}
        >
          <label>
            Offset <input name="offset" size={14} autocomplete="off" placeholder="0x1000" />
          </label>{" "}
          <button type="submit">Go</button>
        </form>
        <h2 class="name">{span === undefined ? "nothing" : span.text}</h2>
        {row !== undefined && (
          <p>
            in <bdi>{printable(row.label)}</bdi>
            {path !== "" && (
              <>
                : <bdi>{printable(path)}</bdi>
              </>
            )}{" "}
            <button type="button" onClick={() => app.set({ view: "devices" })}>
              show the device
            </button>
          </p>
        )}
        {span !== undefined && (
          <p>
            0x{span.offset.toString(16)} to 0x{(span.offset + span.size - 1).toString(16)}, {span.size} bytes
          </p>
        )}
        <Integers bytes={doc.bytes} at={at} />
      </aside>
    </div>
  );
}
