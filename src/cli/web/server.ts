// Serves the inspector's page to the browser of the same user on this machine, and nothing else: the page, the bytes of the
// files that were named, what a VM answers. Whoever does not know the address gets nothing.

import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { closeSync, fstatSync, read, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { openInput } from "../../files/read.ts";
import { CprkitError } from "../../vmstate/error.ts";

/** What is served. */
export interface ServedThings {
  /** Paths of files, at most two. */
  readonly files: readonly string[];
  /** As of `inspect`; the page opens the files with them. */
  readonly options: Readonly<Record<string, string | number | undefined>>;
  /** Asks the VM; what it gives goes to the page as JSON. */
  readonly vm: (() => Promise<unknown>) | undefined;
}

/** A server that runs. */
export interface InspectorServer {
  /** The page's address, with the token. */
  readonly url: string;
  close(): Promise<void>;
}

/** Starts the server on a free port of 127.0.0.1. Throws ERR_FILE for a file that cannot be opened, ERR_USAGE for a pipe. */
export async function serveInspector({ files, options, vm }: ServedThings): Promise<InspectorServer> {
  const page = readFileSync(new URL("../../web/inspect.html", import.meta.url), "utf8");
  const opened = openAll(files);
  const token = randomBytes(32).toString("base64url");
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  try {
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  } catch (error) {
    for (const { fd } of opened) closeSync(fd);
    throw error;
  }
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const base = `http://${host}/${token}/`;
  const shown = pageOf(page, base, {
    files: opened.map(({ name, size }, index) => ({ name, size, path: `file/${index}` })),
    options,
    vm: vm === undefined ? undefined : "vm",
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of headers) response.setHeader(name, value);
    // Another name for 127.0.0.1 is a page of somebody else, whose name was made to lead here.
    if (request.headers.host !== host || comesFromElsewhere(request)) {
      refuse(response, 403);
      return;
    }
    if (request.method !== "GET") {
      refuse(response, 405);
      return;
    }
    const [, given = "", ...rest] = (request.url ?? "").split("/");
    if (!isSame(given, token)) {
      refuse(response, 404);
      return;
    }
    const path = rest.join("/");
    if (path === "") {
      response.setHeader("content-security-policy", `${shown.policy}; frame-ancestors 'none'`);
      response.setHeader("content-type", "text/html; charset=utf-8").end(shown.html);
      return;
    }
    if (path === "vm" && vm !== undefined) {
      const found = await vm();
      response.setHeader("content-type", "application/json").end(JSON.stringify(found));
      return;
    }
    const file = /^file\/[01]$/.test(path) ? opened[Number(path.slice(5))] : undefined;
    if (file === undefined) {
      refuse(response, 404);
      return;
    }
    sendRange(file, request, response);
  }

  return {
    url: base,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      for (const { fd } of opened) closeSync(fd);
    },
  };
}

const headers: readonly (readonly [string, string])[] = [
  ["cache-control", "no-store"],
  ["cross-origin-resource-policy", "same-origin"],
  ["cross-origin-opener-policy", "same-origin"],
  ["referrer-policy", "no-referrer"],
  ["x-content-type-options", "nosniff"],
];

interface OpenedFile {
  readonly name: string;
  readonly fd: number;
  readonly size: number;
}

function openAll(paths: readonly string[]): OpenedFile[] {
  const opened: OpenedFile[] = [];
  try {
    for (const path of paths) {
      if (path === "-") throw notAFile("standard input");
      const fd = openInput(path);
      const stat = fstatSync(fd);
      opened.push({ name: basename(path), fd, size: stat.size });
      if (!stat.isFile()) throw notAFile(path);
    }
    return opened;
  } catch (error) {
    for (const { fd } of opened) closeSync(fd);
    throw error;
  }
}

function notAFile(name: string): CprkitError {
  return new CprkitError(
    "ERR_USAGE",
    `${name} is not a file: the page reads at any place, which a pipe does not have; save it first`,
  );
}

/** The page with what it is to open. It may connect to this address alone, and only if there is something to read. */
function pageOf(
  page: string,
  base: string,
  things: {
    readonly files: readonly unknown[];
    readonly options: ServedThings["options"];
    readonly vm: string | undefined;
  },
): { readonly html: string; readonly policy: string } {
  const connects = things.files.length > 0 || things.vm !== undefined;
  const allowed = page.replace("connect-src 'none'", connects ? `connect-src ${base}` : "connect-src 'none'");
  const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(allowed)?.[1];
  if (policy === undefined) throw new Error("the page has no policy");
  const content = JSON.stringify(things).replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
  // A function: "$&" in a file's name must not mean anything.
  return { policy, html: allowed.replace('name="cprkit" content=""', () => `name="cprkit" content="${content}"`) };
}

/** In the same time whatever the text is. */
function isSame(given: string, token: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}

/** Browsers say where a request comes from: typed or from outside the browser, or from the page itself. */
function comesFromElsewhere({ headers: { "sec-fetch-site": site } }: IncomingMessage): boolean {
  return site !== undefined && site !== "none" && site !== "same-origin";
}

function sendRange({ fd, size }: OpenedFile, request: IncomingMessage, response: ServerResponse): void {
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(request.headers.range ?? "") ?? [];
  const start = Number(first);
  const end = Math.min(Number(last), size - 1);
  if (first === undefined || !(start <= end)) {
    refuse(response, 416);
    return;
  }
  response.writeHead(206, {
    "content-type": "application/octet-stream",
    "content-length": end - start + 1,
    "content-range": `bytes ${start}-${end}/${size}`,
  });
  // Not a stream of a file: destroyed, when the page goes on to another place, that would close the file.
  pipeline(Readable.from(parts(fd, start, end + 1)), response).catch(() => response.destroy());
}

async function* parts(fd: number, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; ) {
    const { buffer, bytesRead } = await readAt(fd, Buffer.allocUnsafe(Math.min(partSize, end - at)), at);
    // The file has become shorter.
    if (bytesRead === 0) throw new Error("the file ends early");
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

const partSize = 256 * 1024;
const readAt = (fd: number, buffer: Buffer, position: number) =>
  promisify(read)(fd, buffer, 0, buffer.length, position);

function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status, { "content-type": "text/plain", connection: "close" }).end();
}
