// Files as sources of a stream: a Blob that is read by slices, and a file at the server that is read by ranges.

import type { ByteSource } from "../../migration/index.ts";
import type { From } from "./protocol.ts";

/** Bytes that are asked for at once when a stream is read through. */
const ahead = 32 * 1024 * 1024;

type Load = (from: number, to: number) => Promise<Uint8Array>;

/** A source that can give bytes without a copy. */
export interface LoadingSource extends ByteSource {
  readonly load?: Load | undefined;
}

/** The bytes of a file at any place; each read is a request of its own. Throws what the browser throws. */
export function sourceOf(from: From): LoadingSource {
  const load = loader(from);
  const size = from.kind === "file" ? from.file.size : from.size;
  return {
    size,
    load,
    read: async (offset, target) => {
      const bytes = await load(offset, Math.min(size, offset + target.length));
      target.set(bytes);
      return bytes.length;
    },
  };
}

/**
 * The same for reading from the start to the end: the next bytes are asked for while these are looked at. What is read
 * elsewhere is read as it is asked for. Throws once `signal` is aborted.
 */
export function readAhead(source: LoadingSource, signal: AbortSignal): ByteSource {
  const { size } = source;
  let base = 0;
  let held: Uint8Array = new Uint8Array(0);
  let next: { readonly at: number; readonly bytes: Promise<Uint8Array> } | undefined;
  const load = async (at: number, length: number): Promise<Uint8Array> => {
    const end = Math.min(size, at + length);
    if (source.load !== undefined) return end <= at ? new Uint8Array(0) : await source.load(at, end);
    const bytes = new Uint8Array(Math.max(0, Math.min(length, size - at)));
    let got = 0;
    while (got < bytes.length) {
      const count = await source.read(at + got, bytes.subarray(got));
      if (count === 0) break;
      got += count;
    }
    return bytes.subarray(0, got);
  };
  const fromHeld = (offset: number, target: Uint8Array): number => {
    const part = held.subarray(offset - base, offset - base + target.length);
    target.set(part);
    return part.length;
  };
  return {
    size,
    read: (offset, target) => {
      signal.throwIfAborted();
      if (offset >= base && offset < base + held.length) return fromHeld(offset, target);
      return (async () => {
        // Pages are stepped over, so the next place is not always the very next byte.
        const isNext = next !== undefined && offset >= next.at && offset < next.at + ahead;
        const goesOn = isNext || (offset > 0 && offset >= base + held.length && offset < base + held.length + ahead);
        if (isNext && next !== undefined) {
          held = await next.bytes;
          base = next.at;
        } else {
          held = await load(offset, goesOn ? ahead : target.length);
          base = offset;
        }
        const at = base + held.length;
        next = goesOn && held.length > 0 && at < size ? { at, bytes: load(at, ahead) } : undefined;
        // Nobody may come for them: then their error is nobody's.
        next?.bytes.catch(() => {});
        return fromHeld(offset, target);
      })();
    },
  };
}

function loader(from: From): Load {
  if (from.kind === "file") {
    const { file } = from;
    return async (start, end) => new Uint8Array(await file.slice(start, end).arrayBuffer());
  }
  const { url } = from;
  return async (start, end) => {
    if (end <= start) return new Uint8Array(0);
    const answer = await fetch(url, { headers: { range: `bytes=${start}-${end - 1}` }, cache: "no-store" });
    if (answer.status !== 206) throw new Error(`the server of this page answered ${answer.status}: has it ended?`);
    return new Uint8Array(await answer.arrayBuffer());
  };
}
