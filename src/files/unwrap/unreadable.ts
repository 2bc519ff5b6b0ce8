// Files that people try, and that hold no stream that can be read: what they are, and what to do.

import { returnPath } from "../../migration/stream/constants.ts";
import { hexText, latin1 } from "./text.ts";

const known: readonly (readonly [RegExp, string])[] = [
  [
    /^(?:d4c3b2a1|a1b2c3d4|4d3cb2a1|a1b23c4d|0a0d0d0a)/,
    "a network capture (pcap): take one direction of the migration's connection out of it (tshark -q -z follow,tcp,raw,N, or tcpflow) and give that",
  ],
  [/^4c554b53babe/, "an encrypted volume (LUKS): open it first (cryptsetup open, or qemu-img convert with its secret)"],
  [
    /^(?:14|15|16|17)030[0-4]/,
    "a TLS connection: what QEMU sent is encrypted and can't be read; migrate to a file, or without tls-creds",
  ],
  [
    /^7f454c46/,
    "an ELF file, as dump-guest-memory writes it: it has guest memory and registers, but not the devices' state",
  ],
  [/^(?:4b44554d50202020|6d616b6564756d7066696c65)/, "a kdump file: it has guest memory, but not the devices' state"],
  [/^4b444d56|^76686478|^3c3c3c20/, "a disk image of another format than qcow2: QEMU keeps no machine's state in it"],
  [/^(?:504b0304|377abcaf|52617221)/, "an archive: unpack it first"],
  [/^5d0000[0-9a-f]{2}(?:0[0-9]|00)/, "data compressed in the old format of lzma: decompress it with `unlzma` first"],
  [/^1f9d/, "data compressed with compress: decompress it with `uncompress` first"],
  [/^4c5a4950/, "data compressed with lzip: decompress it with `lzip -d` first"],
  [/^ff060000734e6150/, "data compressed with snappy: decompress it first"],
  [/^7b(?:22|0a|20|0d|09)/, "JSON, not a stream; `cprkit check` reads descriptions and dumps"],
];

/** What a file is that begins like this, if it is known and can't be read; undefined else. */
export function unreadable(start: Uint8Array): string | undefined {
  const hex = hexText(start.subarray(0, 16));
  const found = known.find(([magic]) => magic.test(hex))?.[1];
  return found ?? (latin1(start.subarray(257, 262)) === "ustar" ? "a tar archive: unpack it first" : undefined);
}

/** The return path's messages that `bytes` consist of, such as "PONG", up to the last whole one; none if it is something else. */
export function returnPathMessages(bytes: Uint8Array): string[] {
  const names: string[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const type = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    const length = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
    const answer = returnPath[type];
    if (answer === undefined || length < answer.shortest || length > answer.longest) return [];
    names.push(answer.name);
    at += 4 + length;
  }
  return names;
}
