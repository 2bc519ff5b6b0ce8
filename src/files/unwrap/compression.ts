// The programs by which people compress, and how their files begin.

import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { hexText } from "./text.ts";

/** What is read. Append only. */
export const compressions = ["gzip", "zstd", "xz", "lz4", "bzip2", "lzop"] as const;

/** One of {@link compressions}. */
export type Compression = (typeof compressions)[number];

/** Which program compressed what begins like this; undefined if none did. */
export function compressionOf(start: Uint8Array): Compression | undefined {
  const hex = hexText(start.subarray(0, 10));
  return compressions.find((name) => magics[name].test(hex));
}

const magics: Readonly<Record<Compression, RegExp>> = {
  gzip: /^1f8b08/,
  zstd: /^28b52ffd/,
  xz: /^fd377a585a00/,
  lz4: /^0(?:4224d18|2214c18)/,
  bzip2: /^425a683[1-9](?:314159265359|177245385090)/,
  lzop: /^894c5a4f000d0a1a0a/,
};

/** What a decoder's error says of the compressed bytes. */
export function problemOf(name: Compression, error: unknown): CprkitError {
  const reason = error instanceof Error ? error.message : String(error);
  if (isCprkitError(error)) {
    const said = error.code === "ERR_EOF" ? "" : "the compressed data is damaged: ";
    return new CprkitError(error.code, `${name}: ${said}${error.reason}`, { cause: error });
  }
  const early = /unexpected (?:end|eof)|ended|truncated|incomplete|premature/i.test(reason);
  const what = early ? "the compressed data ends too early" : "the compressed data is damaged";
  return new CprkitError(early ? "ERR_EOF" : "ERR_BAD_STREAM", `${name}: ${what} (${reason})`, { cause: error });
}
