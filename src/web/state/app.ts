// What the page knows and shows, and all that can be done to it.

import { printable } from "../../vmstate/shown/text.ts";
import type { Compared, From, Opened, OpenOptions } from "../worker/protocol.ts";
import { type Address, readAddress, type View, writeAddress } from "./address.ts";
import { type FileBytes, fileBytes } from "./bytes.ts";
import { fieldRows, type SectionRow, sectionRows } from "./sections.ts";
import { type SpanIndex, spansOf } from "./spans.ts";
import { startWorker, type WorkerClient } from "./worker-client.ts";

/** An open file. */
export interface Doc {
  readonly id: number;
  readonly from: From;
  readonly options: OpenOptions;
  readonly opened: Opened;
  readonly spans: SpanIndex;
  readonly rows: readonly SectionRow[];
  readonly bytes: FileBytes;
  /** Guest RAM: read, being read, given up, or not read. */
  readonly ram: "read" | "reading" | "given up";
  /** Bytes that were read so far. */
  readonly done: number;
}

/** Everything that is shown. */
export interface AppState {
  /** None, one, or two that are compared. */
  readonly docs: readonly Doc[];
  /** Which of them is looked at. */
  readonly current: number;
  readonly opening:
    | { readonly doc: number; readonly name: string; readonly what: "unpacking" | "reading"; readonly done: number }
    | undefined;
  readonly problem: string | undefined;
  readonly view: View;
  /** Offset of the section's row that is selected. */
  readonly section: number | undefined;
  /** Of the field that is selected, from the section down. */
  readonly path: string;
  /** Offset of the byte that is selected. */
  readonly at: number | undefined;
  /** The block of guest RAM that is looked at, and the page in it. */
  readonly block: string | undefined;
  readonly page: number;
  readonly query: string;
  /** An address that waits for its file. */
  readonly wanted: Address | undefined;
  readonly compared: Compared | undefined;
  /** What the server knows of the running machine. */
  readonly vm: VmAnswer | undefined;
  /** Said when something was done, such as that it was copied. */
  readonly said: string;
}

/** What the server says of a running machine. */
export interface VmAnswer {
  readonly machine: unknown;
  readonly preflight: unknown;
  readonly error: string | undefined;
}

/** The page's state, and what changes it. */
export interface App {
  readonly client: WorkerClient;
  readonly state: () => AppState;
  readonly subscribe: (changed: () => void) => () => void;
  readonly set: (changes: Partial<AppState>) => void;
  /** Opens files: one in place of all, two to compare. */
  readonly open: (files: readonly From[], options?: OpenOptions) => Promise<void>;
  /** Opens one more, to compare with the first. */
  readonly compareWith: (file: From) => Promise<void>;
  readonly readRam: (doc: Doc) => Promise<void>;
  readonly cancelRam: (doc: Doc) => void;
  /** Gives up what is being opened. */
  readonly cancelOpening: () => void;
  readonly selectSection: (id: number) => void;
  readonly selectField: (id: number, path: string) => void;
  readonly selectByte: (at: number) => void;
  /** Goes to what an address names, now or when its file is open. */
  readonly goTo: (address: Address) => void;
  /** The address of what is shown. */
  readonly address: () => string;
}

/** Nothing is selected. */
export const nothing = { section: undefined, path: "", at: undefined, block: undefined, page: 0 };

const start: AppState = {
  docs: [],
  current: 0,
  opening: undefined,
  problem: undefined,
  view: "overview",
  ...nothing,
  query: "",
  wanted: undefined,
  compared: undefined,
  vm: undefined,
  said: "",
};

/** Starts the worker and the state. */
export function startApp(): App {
  let state = start;
  const listeners = new Set<() => void>();
  let waiting = false;
  const set = (changes: Partial<AppState>): void => {
    state = { ...state, ...changes };
    if (waiting) return;
    waiting = true;
    queueMicrotask(() => {
      waiting = false;
      for (const listener of listeners) listener();
    });
  };
  const change = (id: number, changes: (doc: Doc) => Partial<Doc>): void => {
    set({ docs: state.docs.map((doc) => (doc.id === id ? { ...doc, ...changes(doc) } : doc)) });
  };
  const client = startWorker(({ doc, what, done }) => {
    if (what === "reading RAM") change(doc, () => ({ done }));
    else if (state.opening !== undefined) set({ opening: { ...state.opening, what, done } });
  });
  let last = 0;

  const openOne = async (from: From, options: OpenOptions): Promise<Doc> => {
    const id = last++;
    set({ opening: { doc: id, name: from.name, what: "reading", done: 0 } });
    const opened = await client.ask("open", { doc: id, from, options });
    return {
      id,
      from,
      options,
      opened,
      spans: spansOf(opened),
      rows: opened.migration === undefined ? [] : sectionRows(opened.migration),
      // Nothing of the state changes when bytes come, but what is shown does.
      bytes: fileBytes(client, id, opened.size, () => set({})),
      ram: opened.ramRead || opened.migration === undefined ? "read" : "reading",
      done: 0,
    };
  };
  const readRam = async (doc: Doc): Promise<void> => {
    change(doc.id, () => ({ ram: "reading", done: 0 }));
    try {
      const migration = await client.ask("ram", { doc: doc.id });
      if (migration === undefined) {
        change(doc.id, () => ({ ram: "given up" }));
        return;
      }
      const opened = { ...doc.opened, migration, ramRead: true };
      change(doc.id, () => ({ opened, spans: spansOf(opened), rows: sectionRows(migration), ram: "read" }));
    } catch (error) {
      change(doc.id, () => ({ ram: "given up" }));
      set({ problem: messageOf(error) });
    }
  };
  const guarded = async (work: () => Promise<void>): Promise<void> => {
    set({ problem: undefined });
    try {
      await work();
    } catch (error) {
      set({ problem: messageOf(error) });
    } finally {
      set({ opening: undefined });
    }
  };
  const compareNow = async (docs: readonly Doc[]): Promise<void> => {
    const [a, b] = docs;
    if (a === undefined || b === undefined) return;
    set({ compared: await client.ask("compare", { a: a.id, b: b.id }), view: "compare" });
  };
  const arrived = (docs: readonly Doc[]): void => {
    for (const old of state.docs) if (!docs.includes(old)) void client.ask("close", { doc: old.id });
    const [first] = docs;
    const view = first?.opened.cpr === undefined ? "overview" : "cpr";
    set({ docs, current: 0, ...nothing, compared: undefined, view });
    for (const doc of docs) if (doc.ram === "reading" && doc.done === 0) void readRam(doc);
  };

  const selectField = (id: number, path: string): void => {
    const doc = state.docs[state.current];
    const row = doc?.rows.find((one) => one.id === id);
    const field = row && path !== "" ? fieldRows(row.section).find((one) => one.path === path)?.field : undefined;
    set({ section: id, path: field === undefined ? "" : path, at: field?.offset ?? row?.section.offset });
  };
  const goTo = (address: Address): void => {
    const { files, view, section, field, at, block, page = 0 } = address;
    const names = state.docs.map(({ opened }) => printable(opened.name));
    const found = files.every((name) => names.includes(name)) && (files.length > 0 || section === undefined);
    if (!found) {
      set({ wanted: address, view: state.docs.length === 0 ? view : state.view });
      return;
    }
    const doc = state.docs[state.current];
    const row = doc?.rows.find((one) => section !== undefined && printable(one.label) === section);
    set({ wanted: undefined, view: view === "compare" && state.docs.length < 2 ? "overview" : view });
    const known = doc?.opened.migration?.ram?.blocks.find((one) => printable(one.name) === block)?.name;
    if (known !== undefined) set({ block: known, page });
    if (row === undefined) {
      if (at !== undefined) selectByte(at);
      return;
    }
    const path = fieldRows(row.section).find((one) => printable(one.path) === field)?.path ?? "";
    selectField(row.id, path);
    if (at !== undefined) set({ at });
  };
  const selectByte = (at: number): void => {
    const doc = state.docs[state.current];
    const span = doc?.spans.at(at);
    set({ at, section: span?.section === undefined ? undefined : rowOf(doc, span.section), path: span?.path ?? "" });
  };

  return {
    client,
    state: () => state,
    subscribe: (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    set,
    open: (files, options = {}) =>
      guarded(async () => {
        const docs: Doc[] = [];
        for (const file of files.slice(0, 2)) docs.push(await openOne(file, options));
        arrived(docs);
        await compareNow(docs);
        if (state.wanted !== undefined) goTo({ ...state.wanted, files: onlyKnown(state.wanted.files, docs) });
      }),
    compareWith: (file) =>
      guarded(async () => {
        const [first] = state.docs;
        const second = await openOne(file, {});
        const docs = first === undefined ? [second] : [first, second];
        arrived(docs);
        await compareNow(docs);
      }),
    readRam,
    cancelRam: (doc) => void client.ask("cancel", { doc: doc.id }),
    cancelOpening: () => {
      if (state.opening !== undefined) void client.ask("cancel", { doc: state.opening.doc });
    },
    selectSection: (id) => selectField(id, ""),
    selectField,
    selectByte,
    goTo,
    address: () => {
      const { docs, view, section, path, at, block, page } = state;
      const row = docs[state.current]?.rows.find((one) => one.id === section);
      return writeAddress({
        files: docs.map(({ opened }) => opened.name),
        view,
        section: row?.label,
        field: path,
        at,
        block,
        page,
      });
    },
  };
}

/** A file of another name is as good, if it was dropped for the address. */
function onlyKnown(files: readonly string[], docs: readonly Doc[]): string[] {
  const names = docs.map(({ opened }) => printable(opened.name));
  return files.filter((name) => names.includes(name));
}

/** The row of the list that stands for the section at `offset`: rounds have none of their own. */
function rowOf(doc: Doc | undefined, offset: number): number | undefined {
  if (doc === undefined || doc.rows.some(({ id }) => id === offset)) return offset;
  const id = doc.opened.migration?.sections.find((one) => one.offset === offset)?.id;
  return doc.rows.find(({ section }) => section.id === id)?.id ?? offset;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The address that the browser shows. */
export function currentAddress(): Address {
  return readAddress(location.hash);
}
