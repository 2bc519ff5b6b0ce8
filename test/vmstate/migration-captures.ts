// The described sections of the shared migration captures, found without a walk of the stream: by their headers and
// footers. Independent of src/migration on purpose.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sharedDir } from "../support/shared.ts";

export interface MigrationCapture {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** The JSON description as it stands in the stream. */
  readonly json: string;
  readonly jsonOffset: number;
  readonly style: "10.0" | "11.1";
}

const dir = sharedDir();

/** Why there are no captures; undefined if there are. */
export const noCaptures = dir === undefined ? "the shared folder with QEMU's migration streams is not here" : undefined;

/** Every capture's name, and that of each description which QEMU's own script printed. */
export const captureNames = filesOf(".mig").map((file) => file.slice(0, -".mig".length));
export const descriptionFiles = [...filesOf(".desc.json"), ...filesOf(".desc.json.gz")].map((file) =>
  join(dir ?? "", "captures/migration", file),
);

export function readCapture(name: string): MigrationCapture {
  const bytes = new Uint8Array(readFileSync(join(dir ?? "", "captures/migration", `${name}.mig`)));
  const buffer = Buffer.from(bytes.buffer);
  for (let at = buffer.lastIndexOf(6, bytes.length - 6); at >= 0; at = buffer.lastIndexOf(6, at - 1)) {
    if (buffer.readUInt32BE(at + 1) + at + 5 === bytes.length && bytes[at + 5] === 0x7b) {
      const json = buffer.toString("latin1", at + 5);
      // "10.0-to-11.1" was written by 10.0.
      return { name, bytes, json, jsonOffset: at, style: name.includes("10.0") ? "10.0" : "11.1" };
    }
  }
  throw new Error(`${name} has no JSON description`);
}

/** The body of the FULL section `idstr`: `length` bytes, then its footer, where the machine sends footers. */
export function findBody(capture: MigrationCapture, idstr: string, instance: number, length: number): Uint8Array {
  const buffer = Buffer.from(capture.bytes.buffer);
  const header = Buffer.alloc(idstr.length + 5);
  header[0] = idstr.length;
  header.write(idstr, 1, "latin1");
  header.writeUInt32BE(instance, idstr.length + 1);
  for (let at = buffer.indexOf(header); at > 0 && at < capture.jsonOffset; at = buffer.indexOf(header, at + 1)) {
    const start = at + header.length + 4;
    const end = start + length;
    const id = buffer.subarray(at - 4, at);
    const footer = buffer[end] === 0x7e && buffer.subarray(end + 1, end + 5).equals(id);
    if (buffer[at - 5] === 4 && (footer || capture.name === "pc-nofooter-10.0"))
      return capture.bytes.subarray(start, end);
  }
  throw new Error(`${capture.name} has no section ${idstr} ${instance} of ${length} bytes`);
}

function filesOf(ending: string): string[] {
  if (dir === undefined) return [];
  return readdirSync(join(dir, "captures/migration"))
    .filter((file) => file.endsWith(ending))
    .sort();
}
