// Every stream of real QEMU explains itself: its devices load by the JSON that it carries, save to the same bytes, and
// the JSON written for what was loaded is the very text that QEMU wrote.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { compile } from "../../src/vmstate/compile/index.ts";
import { fromVmdesc, load, parseVmdesc, save, toVmdesc, trace } from "../../src/vmstate/index.ts";
import { parseJson } from "../../src/vmstate/vmdesc/json.ts";
import { captureNames, descriptionFiles, findBody, noCaptures, readCapture } from "./migration-captures.ts";

if (noCaptures !== undefined) test.skip(`captures [${noCaptures}]`, () => {});

describe.each(captureNames)("%s", (name) => {
  const capture = readCapture(name);
  const vmdesc = parseVmdesc(capture.json);
  const bodies = vmdesc.devices.map((device) => {
    if (device.length === undefined) throw new Error(`${device.name} has no length`);
    return { device, bytes: findBody(capture, device.name, device.instanceId, device.length) };
  });

  test("every device is described without a doubt", () => {
    expect(vmdesc.warnings).toEqual([]);
    expect(vmdesc.pageSize).toBe(4096);
    expect(vmdesc.devices.length).toBeGreaterThan(10);
    expect(vmdesc.configuration?.description.fields.map((field) => field.name)).toEqual(["len", "name"]);
  });

  test("every device section loads and saves to the same bytes", () => {
    for (const { device, bytes } of bodies) {
      const state = load(device.description, { bytes });
      expect(Buffer.from(save(device.description, state).bytes).equals(bytes), device.name).toBe(true);
      const made = compile(device.description);
      expect(isDeepStrictEqual(made.load({ bytes }), state), device.name).toBe(true);
      expect(Buffer.from(made.save(state).bytes).equals(bytes), device.name).toBe(true);
    }
  });

  test("the JSON written for each device is QEMU's", () => {
    const root = parseJson(capture.json);
    if (root.kind !== "object") throw new Error("no object");
    const devices = root.members.find(({ key }) => key === "devices")?.value;
    if (devices?.kind !== "array") throw new Error("no devices");
    let oldStyle = 0;
    for (const [at, { device, bytes }] of bodies.entries()) {
      // An old-style handler has no description that could be written: QEMU writes one buffer for it.
      if (device.oldStyle) {
        oldStyle++;
        continue;
      }
      const state = load(device.description, { bytes });
      const json = toVmdesc(device.description, state, { for: capture.style, device });
      const offset = devices.items[at]?.offset ?? 0;
      expect(firstDifference(capture.json, offset, json), device.name).toBe(undefined);
      // What was written describes the same bytes again.
      const again = fromVmdesc(json);
      expect(again.length).toBe(device.length);
      expect(isDeepStrictEqual(load(again.description, { bytes }), state), device.name).toBe(true);
    }
    expect(oldStyle).toBeLessThanOrEqual(3);
  });

  test("spans cover every byte once", () => {
    for (const { device, bytes } of bodies) {
      const { spans } = trace(device.description, { bytes });
      const outer = spans.filter((span) => span.depth === 0);
      let at = 0;
      for (const span of outer) {
        // A subsection's span begins at its header.
        if (span.start !== at) throw new Error(`${span.path} begins at ${span.start}, not at ${at}`);
        at = span.end;
      }
      expect(at, device.name).toBe(bytes.length);
      expect(spans.every((span) => span.end >= span.start)).toBe(true);
    }
  });
});

test.each(descriptionFiles.map((file) => [basename(file), file]))("%s builds", (_name, file) => {
  const raw = readFileSync(file);
  const vmdesc = parseVmdesc(new Uint8Array(file.endsWith(".gz") ? gunzipSync(raw) : raw));
  expect(vmdesc.warnings).toEqual([]);
  expect(vmdesc.devices.length).toBeGreaterThan(5);
});

/** Both texts from where they part; undefined if `expected` has `found` at `offset`. */
function firstDifference(expected: string, offset: number, found: string): string | undefined {
  if (expected.startsWith(found, offset)) return undefined;
  let at = 0;
  while (found[at] === expected[offset + at]) at++;
  return `expected ${expected.slice(offset + at, offset + at + 80)}, found ${found.slice(at, at + 80)}`;
}
