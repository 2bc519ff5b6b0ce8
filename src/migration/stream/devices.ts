// Where the devices' sections begin, found from the stream's end: guest RAM is before them, and may be tens of GiB.

import { textBytes } from "../../vmstate/wire/text.ts";
import { item } from "./constants.ts";
import type { ByteSource } from "./source.ts";
import type { FoundDescription } from "./vmdescription.ts";

/** How far before the description it is looked for: the devices of large machines have some MiB. */
const reach = 256 * 1024 * 1024;
const chunkSize = 1024 * 1024;

/**
 * Offset of the section of the first device that the description has; undefined if it is not found. It is a good guess: the
 * bytes might stand in a device's state by chance, which reading on from there shows.
 */
export async function locateDevices(
  source: ByteSource,
  { vmdesc, vmdescription }: FoundDescription,
  start: number,
): Promise<number | undefined> {
  const [device] = vmdesc?.devices ?? [];
  if (device === undefined) return undefined;
  const name = textBytes(device.name);
  if (name.length === 0 || name.length > 255) return undefined;
  // Length, name and instance; the mark and the section's id are before.
  const wanted = new Uint8Array(1 + name.length + 4);
  wanted[0] = name.length;
  wanted.set(name, 1);
  new DataView(wanted.buffer).setUint32(1 + name.length, device.instanceId);
  const first = Math.max(start, vmdescription.offset - reach);
  for (let end = vmdescription.offset; end > first; end -= chunkSize) {
    const from = Math.max(first, end - chunkSize);
    const bytes = new Uint8Array(Math.min(vmdescription.offset, end + wanted.length + 5) - from);
    for (let got = 0; got < bytes.length; ) {
      const count = await source.read(from + got, bytes.subarray(got));
      if (count === 0) return undefined;
      got += count;
    }
    const at = lastHeader(bytes, wanted);
    if (at !== undefined) return from + at;
  }
  return undefined;
}

function lastHeader(bytes: Uint8Array, wanted: Uint8Array): number | undefined {
  const last = bytes.length - wanted.length;
  for (let at = bytes.lastIndexOf(item.full, last - 5); at >= 0; at = bytes.lastIndexOf(item.full, at - 1)) {
    if (wanted.every((byte, index) => bytes[at + 5 + index] === byte)) return at;
    if (at === 0) break;
  }
  return undefined;
}
