// The page's worker: it has the files, and does all that takes long.

import { bytesAt } from "../../files/unwrap/stage.ts";
import { explainLog, migrationToJson } from "../../migration/index.ts";
import { compare } from "./compare.ts";
import { type OpenDocument, openDocument, readRam } from "./open.ts";
import { problemOf, shownMigration } from "./plain.ts";
import type { Asked, Call, Calls, Told } from "./protocol.ts";

/** What of a worker's own scope is used: the types of the page's have no such thing. */
interface Scope {
  onmessage: ((event: { readonly data: Asked }) => void) | null;
  postMessage(told: Told): void;
}

const scope = globalThis as unknown as Scope;
const documents = new Map<number, OpenDocument>();
/** Files that are being opened. */
const openings = new Map<number, AbortController>();
/** Between two reports of progress, in ms. */
const interval = 100;

type Handlers = { readonly [K in Call]: (ask: Calls[K]["ask"]) => Promise<Calls[K]["answer"]> | Calls[K]["answer"] };

const handlers: Handlers = {
  open: async ({ doc, from, options }) => {
    const opening = new AbortController();
    const isTooSoon = pacer();
    openings.set(doc, opening);
    try {
      const { document, opened } = await openDocument(from, options, opening.signal, (what, done) => {
        if (isTooSoon()) return;
        scope.postMessage({ kind: "progress", doc, what, done, total: undefined });
      });
      documents.set(doc, document);
      return opened;
    } finally {
      openings.delete(doc);
    }
  },
  close: ({ doc }) => {
    documents.get(doc)?.reading?.abort();
    documents.delete(doc);
    return undefined;
  },
  bytes: async ({ doc, offset, length }) => await bytesAt(documentOf(doc).source, offset, length),
  ram: async ({ doc }) => {
    const document = documentOf(doc);
    const { source } = document;
    const reading = new AbortController();
    document.reading?.abort();
    document.reading = reading;
    const isTooSoon = pacer();
    try {
      const migration = await readRam(document, reading.signal, (done) => {
        if (isTooSoon()) return;
        scope.postMessage({ kind: "progress", doc, what: "reading RAM", done, total: source.size });
      });
      return shownMigration(migration);
    } catch (error) {
      if (reading.signal.aborted) return undefined;
      throw error;
    }
  },
  cancel: ({ doc }) => {
    openings.get(doc)?.abort(new Error("it was given up"));
    documents.get(doc)?.reading?.abort();
    return undefined;
  },
  map: ({ doc, block, first, perCell, cells }) => documentOf(doc).map.part(block, first, perCell, cells),
  page: ({ doc, block, page }) => documentOf(doc).map.page(block, page),
  json: ({ doc }) => {
    const { migration, cpr } = documentOf(doc);
    return JSON.stringify(migration === undefined ? cpr : migrationToJson(migration));
  },
  compare: ({ a, b }) => compare(documentOf(a), documentOf(b)),
  explain: ({ doc, log }) => explainLog(log, doc === undefined ? undefined : documents.get(doc)?.migration),
};

/** Says whether the last report of progress was just now. */
function pacer(): () => boolean {
  let next = 0;
  return () => {
    const now = performance.now();
    if (now < next) return true;
    next = now + interval;
    return false;
  };
}

function documentOf(doc: number): OpenDocument {
  const document = documents.get(doc);
  if (document === undefined) throw new Error("this file is not open any more");
  return document;
}

scope.onmessage = async ({ data: { id, call, ask } }) => {
  try {
    // Each handler takes what is asked by its own name.
    const handler = handlers[call] as (ask: unknown) => Promise<Calls[Call]["answer"]>;
    scope.postMessage({ kind: "answer", id, answer: await handler(ask) });
  } catch (error) {
    scope.postMessage({ kind: "failed", id, problem: problemOf(error) });
  }
};
