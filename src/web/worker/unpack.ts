// Keeps what comes once where it can be read at any place: in Blobs, which the browser puts on the disk when they are large.

import { type LoadingSource, sourceOf } from "./sources.ts";

/** Bytes that are put into one Blob. */
const pieceSize = 16 * 1024 * 1024;

/** Reads `chunks` to their end, unless `signal` gives it up. `onUnpacked` is told how many bytes there are so far. */
export async function unpacked(
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  onUnpacked: (bytes: number) => void,
): Promise<LoadingSource> {
  const pieces: Blob[] = [];
  let piece = new Uint8Array(pieceSize);
  let used = 0;
  let size = 0;
  const close = (): void => {
    if (used > 0) pieces.push(new Blob([piece.subarray(0, used)]));
    used = 0;
  };
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + pieceSize - used);
      piece.set(part, used);
      used += part.length;
      at += part.length;
      if (used === pieceSize) {
        // What is told to stop is heard only when this thread waits.
        await new Promise((resume) => setTimeout(resume));
        signal.throwIfAborted();
        close();
        onUnpacked(size + at);
      }
    }
    size += chunk.length;
  }
  close();
  piece = new Uint8Array(0);
  const whole = new Blob(pieces);
  return sourceOf({ kind: "file", file: whole, name: "" });
}
