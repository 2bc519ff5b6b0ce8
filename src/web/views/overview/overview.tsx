// The stream as a whole: problems first, then the machine, then its sections to scale.

import type { ComponentChildren, JSX } from "preact";
import { counted, printable } from "../../../vmstate/shown/text.ts";
import { offsetText, sizeText } from "../../../vmstate/shown/values.ts";
import { copy } from "../../parts/copy.tsx";
import { useApp } from "../../parts/use-app.ts";
import type { Doc } from "../../state/app.ts";
import type { Problem } from "../../worker/protocol.ts";
import { RamProgress } from "../ram/progress.tsx";
import { Strip } from "./strip.tsx";
import { Treemap } from "./treemap.tsx";

/** What there is, and what is wrong. */
export function Overview({ doc }: { readonly doc: Doc }): JSX.Element {
  const app = useApp();
  const { opened, rows } = doc;
  const { migration } = opened;
  return (
    <div class="page">
      <Problems doc={doc} />
      <h2>{printable(opened.name)}</h2>
      <dl class="facts">
        {facts(doc).map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}:`}>{value}</dd>])}
      </dl>
      <div class="buttons">
        <button
          type="button"
          onClick={async () => copy(await app.client.ask("json", { doc: doc.id }), "JSON of the stream", app.set)}
        >
          Copy all as JSON
        </button>
      </div>
      {migration !== undefined && (
        <>
          <RamProgress doc={doc} />
          <h3>Sections to scale</h3>
          <Strip doc={doc} />
          <Treemap rows={rows} />
        </>
      )}
    </div>
  );
}

function facts({ opened }: Doc): [string, ComponentChildren][] {
  const { migration, cpr, fileSize, size, wrapping, took } = opened;
  const found: [string, ComponentChildren][] = [["file", counted(fileSize, "byte")]];
  if (wrapping.length > 0) found.push(["in", wrapping.map(printable).join("; ")]);
  if (size !== fileSize) found.push(["stream", counted(size, "byte")]);
  if (cpr !== undefined) {
    found.push(["kind", `CPR state, ${cpr.report.abi} ABI, version ${cpr.report.version}`]);
    found.push(["fds", String(cpr.report.fds.length)]);
  }
  if (migration !== undefined) {
    const { machine, version, pageSize, pageSizeStated, configuration, ram, complete, trailing, commands } = migration;
    const full = migration.sections.filter(({ type }) => type === "full");
    found.push(
      ["kind", `QEMU migration stream, version ${version}, ${complete ? "complete" : "NOT complete"}`],
      ["machine", machine === undefined ? "unknown" : printable(machine)],
      ["page size", `${pageSize}${pageSizeStated || ram === undefined ? "" : " (not stated)"}`],
      ["devices", `${counted(full.length, "section")}, ${full.filter(isDecoded).length} decoded`],
    );
    if (ram !== undefined) {
      found.push(["RAM", `${sizeText(ram.totalBytes)} in ${counted(ram.blocks.length, "block")}`]);
    }
    if (configuration !== undefined && configuration.capabilities.length > 0) {
      found.push(["capabilities", configuration.capabilities.map(printable).join(", ")]);
    }
    if (configuration?.uuid !== undefined) found.push(["uuid", configuration.uuid]);
    if (commands.length > 0) found.push(["commands", commands.map(({ name }) => name).join(", ")]);
    if (trailing !== undefined) {
      const other = trailing.stream === undefined ? "" : `; another stream begins at ${offsetText(trailing.stream)}`;
      found.push(["after it", `${counted(trailing.size, "byte")}${other}`]);
    }
  }
  found.push(["shown after", `${Math.round(took)} ms`]);
  return found;
}

function isDecoded({
  fields,
  opaque,
}: {
  readonly fields: readonly unknown[];
  readonly opaque: string | undefined;
}): boolean {
  return opaque === undefined && fields.length > 0;
}

function Problems({ doc }: { readonly doc: Doc }): JSX.Element | null {
  const app = useApp();
  const { migration, damage, cpr } = doc.opened;
  const opaque = migration?.sections.filter((section) => section.opaque !== undefined) ?? [];
  const stops = [damage, migration?.stopped].filter((one): one is Problem => one !== undefined);
  const all: readonly Problem[] = [
    ...stops,
    ...(migration?.problems ?? []),
    ...opaque.map(({ name, offset, opaque: why = "" }) => ({
      code: "not decoded",
      message: `${name}: ${why}`,
      offset,
    })),
    ...(cpr?.report.warnings.map((message) => ({ code: "warning", message })) ?? []),
  ];
  if (all.length === 0) return null;
  return (
    <section aria-label="Problems" class="problems">
      <h2>{counted(all.length, "problem")}</h2>
      {stops.length > 0 && <p>Reading stopped. What is shown is what came before.</p>}
      <ul>
        {all.slice(0, 200).map((problem, index) => (
          <li key={`${index}:${problem.message}`}>
            {printable(problem.message)} <code>{problem.code}</code>{" "}
            {problem.offset !== undefined && (
              <button
                type="button"
                onClick={() => {
                  app.selectByte(problem.offset ?? 0);
                  app.set({ view: "bytes" });
                }}
              >
                show the byte
              </button>
            )}
          </li>
        ))}
      </ul>
      {all.length > 200 && <p>and {all.length - 200} more</p>}
    </section>
  );
}
