// The programs by which people compress, and how their files begin.

/** What is read. Append only. */
export const compressions = ["gzip", "zstd", "xz", "lz4", "bzip2", "lzop"] as const;

/** One of {@link compressions}. */
export type Compression = (typeof compressions)[number];

/** Which program compressed what begins like this; undefined if none did. */
export function compressionOf(start: Uint8Array): Compression | undefined {
  const hex = Buffer.from(start.subarray(0, 10)).toString("hex");
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
