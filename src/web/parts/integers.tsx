// The bytes at the cursor as every kind of number.

import type { JSX } from "preact";
import type { FileBytes } from "../state/bytes.ts";

const kinds: readonly (readonly [name: string, size: number, read: (view: DataView, little: boolean) => unknown])[] = [
  ["uint8", 1, (view) => view.getUint8(0)],
  ["int8", 1, (view) => view.getInt8(0)],
  ["uint16", 2, (view, little) => view.getUint16(0, little)],
  ["int16", 2, (view, little) => view.getInt16(0, little)],
  ["uint32", 4, (view, little) => view.getUint32(0, little)],
  ["int32", 4, (view, little) => view.getInt32(0, little)],
  ["uint64", 8, (view, little) => view.getBigUint64(0, little)],
  ["int64", 8, (view, little) => view.getBigInt64(0, little)],
  ["float", 4, (view, little) => view.getFloat32(0, little)],
  ["double", 8, (view, little) => view.getFloat64(0, little)],
];

/** The values from byte `at` on, in QEMU's byte order and in the other one. */
export function Integers({ bytes, at }: { readonly bytes: FileBytes; readonly at: number | undefined }): JSX.Element {
  const view = new DataView(new ArrayBuffer(8));
  let there = 0;
  for (; at !== undefined && there < 8; there++) {
    const byte = bytes.at(at + there);
    if (byte === undefined) break;
    view.setUint8(there, byte);
  }
  const value = (size: number, text: () => unknown): string => (there >= size ? String(text()) : "");
  return (
    <table class="plain">
      <caption>{at === undefined ? "No byte is selected" : `At 0x${at.toString(16)} (${at})`}</caption>
      <thead>
        <tr>
          <th scope="col">as</th>
          <th scope="col">big-endian (QEMU's)</th>
          <th scope="col">little-endian</th>
        </tr>
      </thead>
      <tbody>
        {kinds.map(([name, size, read]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{value(size, () => read(view, false))}</td>
            <td>{value(size, () => read(view, true))}</td>
          </tr>
        ))}
        <tr>
          <th scope="row">bits</th>
          <td>{value(1, () => view.getUint8(0).toString(2).padStart(8, "0"))}</td>
          <td />
        </tr>
      </tbody>
    </table>
  );
}
