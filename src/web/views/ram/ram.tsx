// Guest RAM: each block as a map of its pages, from all of them to one; and what a page holds.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Ram, RamBlock } from "../../../migration/index.ts";
import { counted, grouped, printable } from "../../../vmstate/shown/text.ts";
import { sizeText } from "../../../vmstate/shown/values.ts";
import { Hex } from "../../parts/hex.tsx";
import { Rows } from "../../parts/rows.tsx";
import { useApp, useAppState } from "../../parts/use-app.ts";
import type { Doc } from "../../state/app.ts";
import { memoryBytes } from "../../state/bytes.ts";
import { cprIndex } from "../../state/spans.ts";
import type { PagePlace } from "../../worker/protocol.ts";
import { RamMap } from "./map.tsx";
import { RamProgress } from "./progress.tsx";

/** The view. */
export function RamView({ doc }: { readonly doc: Doc }): JSX.Element {
  const ram = doc.opened.migration?.ram;
  const app = useApp();
  const { block: name } = useAppState();
  const blocks = ram?.blocks ?? [];
  const block = blocks.find((one) => one.name === name) ?? largest(blocks);
  if (ram === undefined || block === undefined) return <p class="hint">This stream has no guest RAM.</p>;
  const pageSize = block.mapped?.pageSize ?? ram.pageSize;
  return (
    <div class="ram">
      <div class="side">
        <RamProgress doc={doc} />
        <p class="count">
          {sizeText(ram.totalBytes)} in {counted(blocks.length, "block")}
          {ram.mappedRam && ", mapped-ram"}
          {ram.multifdFlushes > 0 && ", multifd: pages travelled on other channels"}
        </p>
        <Blocks blocks={blocks} selected={block.name} onSelect={(one) => app.set({ block: one, page: 0 })} />
      </div>
      <Block key={`${doc.id}:${block.name}`} doc={doc} block={block} pageSize={pageSize} passed={passedAs(ram)} />
    </div>
  );
}

function largest(blocks: readonly RamBlock[]): RamBlock | undefined {
  return [...blocks].sort((a, b) => b.usedLength - a.usedLength)[0];
}

function Blocks({
  blocks,
  selected,
  onSelect,
}: {
  readonly blocks: readonly RamBlock[];
  readonly selected: string;
  readonly onSelect: (name: string) => void;
}): JSX.Element {
  const at = blocks.findIndex(({ name }) => name === selected);
  return (
    <Rows
      id="blocks"
      role="listbox"
      label="Blocks of guest RAM"
      count={blocks.length}
      selected={at}
      onSelect={(index) => onSelect(blocks[index]?.name ?? selected)}
      row={(index, id) => {
        const one = blocks[index];
        if (one === undefined) return null;
        return (
          <div
            key={one.name}
            id={id}
            role="option"
            aria-selected={index === at}
            tabIndex={-1}
            class={index === at ? "item selected" : "item"}
            onClick={() => onSelect(one.name)}
          >
            <bdi>{printable(one.name)}</bdi>
            <em>{sizeText(one.usedLength)}</em>
          </div>
        );
      }}
    />
  );
}

interface BlockProps {
  readonly doc: Doc;
  readonly block: RamBlock;
  readonly pageSize: number;
  /** Why pages may be missing; undefined if they may not. */
  readonly passed: string | undefined;
}

/** How memory comes to the new QEMU whose pages are not in the stream. */
function passedAs({ ignoreShared, pages, zeroPages, xbzrlePages }: Ram): string | undefined {
  if (ignoreShared) return "shared memory, which is not in the stream";
  return pages + zeroPages + xbzrlePages === 0 ? "shared memory, which CPR passes by fd: not in the stream" : undefined;
}

function Block({ doc, block, pageSize, passed }: BlockProps): JSX.Element {
  const pages = Math.ceil(block.usedLength / pageSize);
  const app = useApp();
  const { page: wanted } = useAppState();
  const page = Math.min(wanted, pages - 1);
  const counts = [
    `${grouped(block.pages)} with data`,
    `${grouped(block.zeroPages)} of zeros`,
    ...(block.xbzrlePages > 0 ? [`${grouped(block.xbzrlePages)} as differences (xbzrle)`] : []),
    ...(block.compressedPages > 0 ? [`${grouped(block.compressedPages)} compressed`] : []),
  ];
  const isAbsent =
    passed !== undefined && doc.ram === "read" && block.pages + block.zeroPages + block.xbzrlePages === 0;
  return (
    <div class="stack">
      <header class="heading">
        <h2>
          <bdi>{printable(block.name)}</bdi>
        </h2>
        <p>
          {sizeText(block.usedLength)}, {counted(pages, "page")} of {sizeText(pageSize)}:{" "}
          {isAbsent ? passed : counts.join(", ")}
        </p>
      </header>
      <RamMap
        doc={doc}
        block={block.name}
        pages={pages}
        shared={isAbsent}
        page={page}
        onPage={(one) => app.set({ block: block.name, page: one })}
      />
      <Page doc={doc} block={block.name} page={page} pageSize={pageSize} shared={isAbsent} />
    </div>
  );
}

interface PageProps {
  readonly doc: Doc;
  readonly block: string;
  readonly page: number;
  readonly pageSize: number;
  readonly shared: boolean;
}

/** Where a page is in the stream, and its bytes. */
function Page({ doc, block, page, pageSize, shared }: PageProps): JSX.Element {
  const app = useApp();
  const [place, setPlace] = useState<PagePlace>();
  const [content, setContent] = useState<Uint8Array>(nothing);
  const [at, setAt] = useState<number>();
  const asked = useRef(0);
  useEffect(() => {
    const own = ++asked.current;
    void (async () => {
      const found = await app.client.ask("page", { doc: doc.id, block, page });
      const bytes = found.at === undefined || found.size === 0 ? nothing : await doc.bytes.read(found.at, found.size);
      if (own !== asked.current) return;
      setPlace(found);
      setContent(bytes);
      setAt(undefined);
    })().catch(() => setContent(nothing));
  }, [app, doc.id, doc.ram, doc.bytes, block, page]);
  const bytes = useMemo(() => memoryBytes(content), [content]);
  const kind = place?.kind ?? "absent";
  return (
    <>
      <p class="page-place" aria-live="polite">
        Page {grouped(page)} at 0x{(page * pageSize).toString(16)}: {shared ? "shared" : words[kind]}
        {place?.at !== undefined && kind !== "zero" && (
          <>
            , in the stream at 0x{place.at.toString(16)}{" "}
            <button
              type="button"
              onClick={() => {
                app.selectByte(place.at ?? 0);
                app.set({ view: "bytes" });
              }}
            >
              show it there
            </button>
          </>
        )}
        {place !== undefined &&
          kind !== "absent" &&
          place.at === undefined &&
          ", its place was not kept (the stream is too large)"}
      </p>
      {content.length > 0 && kind !== "zero" && (
        <Hex
          id="page-bytes"
          label="Bytes of the page"
          bytes={bytes}
          spans={none}
          from={0}
          to={content.length}
          at={at}
          onSelect={setAt}
        />
      )}
    </>
  );
}

const nothing = new Uint8Array(0);
const none = cprIndex([]);

const words = {
  page: "data",
  zero: "zeros",
  xbzrle: "a difference to what came before (xbzrle)",
  compressed: "compressed with zlib",
  filled: "filled with one byte",
  absent: "not in the stream",
} as const;
