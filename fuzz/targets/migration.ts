// A migration stream. The input's first byte chooses: 0, the rest is the whole stream; else what follows is the items
// and, after the first two bytes "{", the JSON description, which come together with the right length.

import { encodeDevice, migrationToJson, readMigrationBytes } from "../../src/migration/index.ts";
import { hasPlace, sameBytes, type Target, unlessRefused } from "../target.ts";

export const fuzz: Target = (input) => {
  const { bytes, vmdesc } = streamOf(input);
  const refusals = ["ERR_BAD_MAGIC", "ERR_VERSION_TOO_OLD", "ERR_VERSION_TOO_NEW"] as const;
  const jsonRefusals = vmdesc === undefined ? [] : (["ERR_BAD_STREAM", "ERR_DEPTH", "ERR_LIMIT"] as const);
  const migration = unlessRefused(() => readMigrationBytes(bytes, { vmdesc }), () => {}, [
    ...refusals,
    ...jsonRefusals,
  ]);
  if (migration === undefined) return;
  const { stopped, problems, complete, sections, size } = migration;
  if (complete === (stopped !== undefined)) throw new Error(`complete: ${complete}, stopped: ${stopped?.message}`);
  for (const error of [stopped, ...problems]) if (error !== undefined) hasPlace(error, bytes.length);
  if (size > bytes.length) throw new Error(`${size} bytes read of ${bytes.length}`);
  JSON.stringify(migrationToJson(migration));
  for (const { name, device } of sections) {
    if (device?.state === undefined) continue;
    sameBytes(encodeDevice({ ...device }), device.body, `section "${name}" was read, but saved to other bytes`);
  }
};

const header = [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3];

function streamOf(input: Uint8Array): { readonly bytes: Uint8Array; readonly vmdesc: string | undefined } {
  const [choice = 0] = input;
  const rest = input.subarray(1);
  if (choice === 0) return { bytes: rest, vmdesc: undefined };
  const at = rest.findIndex((byte, i) => byte === 0x7b && rest[i + 1] === 0x22);
  const items = at < 0 ? rest : rest.subarray(0, at);
  const json = at < 0 ? new Uint8Array() : rest.subarray(at);
  if (choice === 1) {
    return { bytes: Uint8Array.from([...header, ...items, 0]), vmdesc: Buffer.from(json).toString("latin1") };
  }
  const length = [json.length >>> 24, json.length >>> 16, json.length >>> 8, json.length].map((byte) => byte & 0xff);
  return { bytes: Uint8Array.from([...header, ...items, 0, 6, ...length, ...json]), vmdesc: undefined };
}
