// The whole page: its head with search and tabs, the view, and where files are dropped.

import type { JSX, TargetedEvent, TargetedKeyboardEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { printable } from "../vmstate/shown/text.ts";
import { sizeText } from "../vmstate/shown/values.ts";
import { Help } from "./parts/help.tsx";
import { useApp, useAppState } from "./parts/use-app.ts";
import { type View, views } from "./state/address.ts";
import { type App, type AppState, nothing } from "./state/app.ts";
import { switchTheme } from "./state/theme.ts";
import { Bytes } from "./views/bytes.tsx";
import { Compare } from "./views/compare.tsx";
import { CprState } from "./views/cpr.tsx";
import { Devices } from "./views/devices.tsx";
import { Overview } from "./views/overview/overview.tsx";
import { RamView } from "./views/ram/ram.tsx";
import { Snapshots } from "./views/snapshots.tsx";
import { Vm } from "./views/vm.tsx";
import { Welcome } from "./views/welcome.tsx";

interface PageProps {
  readonly hasVm: boolean;
  readonly onRefreshVm: () => void;
}

const names: Readonly<Record<View, string>> = {
  overview: "Overview",
  devices: "Devices",
  bytes: "Bytes",
  ram: "RAM",
  cpr: "CPR state",
  compare: "Compare",
  vm: "VM",
};

/** The page. */
export function Page({ hasVm, onRefreshVm }: PageProps): JSX.Element {
  const app = useApp();
  const state = useAppState();
  const search = useRef<HTMLInputElement>(null);
  const files = useRef<HTMLInputElement>(null);
  const compare = useRef<HTMLInputElement>(null);
  const [help, setHelp] = useState(false);
  const tabs = tabsOf(state, hasVm);
  const view = tabs.includes(state.view) ? state.view : (tabs[0] ?? "overview");
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target)) return;
      const tab = tabs[Number(event.key) - 1];
      if (event.key === "/") search.current?.focus();
      else if (event.key === "?") setHelp(true);
      else if (event.key === "t") switchTheme();
      else if (event.key === "o") files.current?.click();
      else if (tab !== undefined && /^[1-9]$/.test(event.key)) app.set({ view: tab });
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  });
  useEffect(() => dropped(app), [app]);
  const doc = state.docs[state.current];
  return (
    <>
      <header>
        <div class="top">
          <h1>cprkit inspect</h1>
          <Names />
          <input
            ref={search}
            type="search"
            aria-label="Search names, paths and values"
            placeholder="Search names, paths, values ( / )"
            value={state.query}
            onInput={(event) => app.set({ query: event.currentTarget.value })}
            onKeyDown={(event) => {
              if (event.key !== "Enter" && event.key !== "ArrowDown") return;
              document.querySelector<HTMLElement>("main [role=tree], main [role=grid]")?.focus();
              event.preventDefault();
            }}
          />
          <button type="button" title="Open a file, or two (o)" onClick={() => files.current?.click()}>
            Open…
          </button>
          <button type="button" disabled={doc === undefined} onClick={() => compare.current?.click()}>
            Compare with…
          </button>
          <button type="button" title="Dark or light (t)" onClick={switchTheme}>
            Theme
          </button>
          <button type="button" title="Keys (?)" onClick={() => setHelp(true)}>
            Keys
          </button>
          <input
            ref={files}
            id="files"
            class="hidden"
            type="file"
            multiple
            tabIndex={-1}
            aria-label="Files to open"
            onChange={chosen((list) => void app.open(list))}
          />
          <input
            ref={compare}
            id="compare-file"
            class="hidden"
            type="file"
            tabIndex={-1}
            aria-label="File to compare with"
            onChange={chosen(([first]) => first && void app.compareWith(first))}
          />
        </div>
        <div class="tabs" role="tablist" aria-label="Views" onKeyDown={moveBetweenTabs}>
          {tabs.map((name) => (
            <button
              key={name}
              id={`tab-${name}`}
              type="button"
              role="tab"
              aria-selected={name === view}
              aria-controls="view"
              tabIndex={name === view ? 0 : -1}
              onClick={() => app.set({ view: name })}
            >
              {names[name]}
            </button>
          ))}
        </div>
      </header>
      <main>
        <div
          id="view"
          class="view"
          role="tabpanel"
          aria-busy={state.opening !== undefined}
          aria-labelledby={`tab-${view}`}
        >
          {state.problem !== undefined && (
            <p class="problems" role="alert">
              {printable(state.problem)}
            </p>
          )}
          {state.opening !== undefined ? (
            <p class="hint" role="status">
              Opening <bdi>{printable(state.opening.name)}</bdi>
              {state.opening.done > 0 &&
                `, ${sizeText(state.opening.done)} ${state.opening.what === "reading" ? "read" : "unpacked"}`}
              …{" "}
              <button type="button" onClick={app.cancelOpening}>
                Cancel
              </button>
            </p>
          ) : (
            <Shown view={view} state={state} onRefreshVm={onRefreshVm} />
          )}
        </div>
      </main>
      <p class="said" role="status">
        {state.said}
      </p>
      {help && <Help onClose={() => setHelp(false)} />}
    </>
  );
}

/** The files, of which one is looked at. */
function Names(): JSX.Element {
  const app = useApp();
  const { docs, current } = useAppState();
  if (docs.length < 2) {
    const [doc] = docs;
    return <p class="names">{doc !== undefined && <bdi>{printable(doc.opened.name)}</bdi>}</p>;
  }
  return (
    <p class="names">
      <label>
        File{" "}
        <select
          value={String(current)}
          onChange={(event) => app.set({ current: Number(event.currentTarget.value), ...nothing })}
        >
          {docs.map(({ id, opened }, index) => (
            <option key={id} value={String(index)}>
              {printable(opened.name)}
            </option>
          ))}
        </select>
      </label>
    </p>
  );
}

interface ShownProps {
  readonly view: View;
  readonly state: AppState;
  readonly onRefreshVm: () => void;
}

function Shown({ view, state, onRefreshVm }: ShownProps): JSX.Element {
  const doc = state.docs[state.current];
  if (view === "vm") return <Vm onRefresh={onRefreshVm} />;
  if (view === "compare") return <Compare />;
  if (doc === undefined) return <Welcome />;
  if (doc.opened.snapshots !== undefined) return <Snapshots doc={doc} />;
  const { cpr } = doc.opened;
  switch (view) {
    case "devices":
      return <Devices key={doc.id} doc={doc} />;
    case "bytes":
      return <Bytes key={doc.id} doc={doc} />;
    case "ram":
      return <RamView key={doc.id} doc={doc} />;
    case "cpr":
      return cpr === undefined ? (
        <Overview doc={doc} />
      ) : (
        <CprState key={doc.id} cpr={cpr} damage={doc.opened.damage?.message} />
      );
    default:
      return <Overview key={doc.id} doc={doc} />;
  }
}

function tabsOf({ docs, current }: AppState, hasVm: boolean): View[] {
  const doc = docs[current];
  const isThere: Readonly<Record<View, boolean>> = {
    overview: true,
    devices: doc?.opened.migration !== undefined,
    bytes: doc !== undefined,
    ram: doc?.opened.migration !== undefined,
    cpr: doc?.opened.cpr !== undefined,
    compare: true,
    vm: hasVm,
  };
  return views.filter((view) => isThere[view]);
}

/** Arrows go from tab to tab. */
function moveBetweenTabs(event: TargetedKeyboardEvent<HTMLElement>): void {
  const tabs = [...event.currentTarget.querySelectorAll<HTMLElement>("[role=tab]")];
  const at = tabs.indexOf(document.activeElement as HTMLElement);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (to === undefined) return;
  const tab = tabs[(to + tabs.length) % tabs.length];
  tab?.click();
  tab?.focus();
  event.preventDefault();
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("input, textarea, select, dialog") !== null;
}

type Chosen = Parameters<App["open"]>[0];

function chosen(then: (files: Chosen) => void): (event: TargetedEvent<HTMLInputElement>) => void {
  return ({ currentTarget }) => {
    then([...(currentTarget.files ?? [])].map((file) => ({ kind: "file", file, name: file.name })));
    // The same file may be chosen again.
    currentTarget.value = "";
  };
}

/** Files may be dropped anywhere: one is opened, and two are compared. */
function dropped(app: App): () => void {
  const onOver = (event: DragEvent): void => event.preventDefault();
  const onDrop = (event: DragEvent): void => {
    event.preventDefault();
    const files = [...(event.dataTransfer?.files ?? [])].map(
      (file) => ({ kind: "file", file, name: file.name }) as const,
    );
    const [first] = files;
    if (first === undefined) return;
    if (files.length === 1 && app.state().view === "compare" && app.state().docs.length > 0)
      void app.compareWith(first);
    else void app.open(files);
  };
  addEventListener("dragover", onOver);
  addEventListener("drop", onDrop);
  return () => {
    removeEventListener("dragover", onOver);
    removeEventListener("drop", onDrop);
  };
}
