// The file of `virsh save` and `virsh managedsave`: a header, the domain's XML, and QEMU's stream, often compressed
// (libvirt's src/qemu/qemu_saveimage.h; version 2 since 0.9).

import { CprkitError } from "../../vmstate/error.ts";
import { decodeText } from "../../vmstate/wire/text.ts";
import { peek, type Stage } from "./stage.ts";
import { latin1 } from "./text.ts";

/** What libvirt's header says. */
export interface LibvirtSave {
  /** The format's version: 1 or 2. */
  readonly version: number;
  /** False while libvirt has not finished the file ("LibvirtQemudPart"): its end may be missing. */
  readonly complete: boolean;
  /** Whether the domain ran when it was saved. */
  readonly wasRunning: boolean;
  /** How libvirt says that the stream is stored, such as "raw" or "zstd"; "format 9" for a number that is not known. */
  readonly format: string;
  /** The domain's description. */
  readonly xml: string;
  /** libvirt's own notes on the running domain, XML, too; undefined if there are none. */
  readonly cookie: string | undefined;
}

const formats = ["raw", "gzip", "bzip2", "xz", "lzop", "zstd", "sparse"];

/** 16 bytes of magic and 19 numbers of 32 bits, in the order of the host that wrote them. */
const headerSize = 92;
/** A domain's XML has some KiB. */
const maxData = 64 * 1024 * 1024;

/** Whether a file begins like one of libvirt's. */
export function isLibvirtSave(start: Uint8Array): boolean {
  return /^LibvirtQemud(?:Save|Part)$/.test(latin1(start.subarray(0, 16)));
}

/** Reads header and XML. `size`: how many bytes they take. Throws ERR_EOF, ERR_LIMIT, ERR_VERSION_TOO_NEW. */
export async function readLibvirtSave(stage: Stage): Promise<{ readonly save: LibvirtSave; readonly size: number }> {
  const header = await peek(stage, headerSize);
  const { offset } = stage;
  if (header.length < headerSize) throw new CprkitError("ERR_EOF", "the input ends in libvirt's header", { offset });
  const view = new DataView(header.buffer, header.byteOffset, headerSize);
  const little = view.getUint32(16, true) < 0x10000;
  const number = (index: number) => view.getUint32(16 + 4 * index, little);
  const [version, length, wasRunning, format, cookieAt] = [number(0), number(1), number(2), number(3), number(4)];
  if (version > 2) {
    const reason = `libvirt's save has version ${version}; versions up to 2 are known`;
    throw new CprkitError("ERR_VERSION_TOO_NEW", reason, { offset: offset + 16 });
  }
  if (length > maxData) {
    const reason = `libvirt's header says that the XML has ${length} bytes, more than ${maxData}`;
    throw new CprkitError("ERR_LIMIT", reason, { offset: offset + 20 });
  }
  const data = (await peek(stage, headerSize + length)).subarray(headerSize);
  if (data.length < length) {
    const reason = `the input ends in the domain's XML: needed ${length} bytes, only ${data.length} left`;
    throw new CprkitError("ERR_EOF", reason, { offset: offset + headerSize + data.length });
  }
  const hasCookie = cookieAt > 0 && cookieAt < length;
  const save: LibvirtSave = {
    version,
    complete: latin1(header.subarray(12, 16)) === "Save",
    wasRunning: wasRunning !== 0,
    format: formats[format] ?? `format ${format}`,
    xml: text(hasCookie ? data.subarray(0, cookieAt) : data),
    cookie: hasCookie ? text(data.subarray(cookieAt)) : undefined,
  };
  return { save, size: headerSize + length };
}

/** The name in a domain's XML; undefined if there is none. */
export function domainName(xml: string): string | undefined {
  return /<name>([^<]*)<\/name>/.exec(xml)?.[1];
}

/** Up to the NUL that ends it. */
function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decodeText(bytes, 0, end < 0 ? bytes.length : end);
}
