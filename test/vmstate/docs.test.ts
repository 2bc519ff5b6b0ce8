// docs/vmstate.md: no kind and no code is missing, and its examples give what they say.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import * as api from "../../src/vmstate/index.ts";
import { bytesOf, hexOf } from "./table.ts";

const text = readFileSync(new URL("../../docs/vmstate.md", import.meta.url), "utf8");

const barrel = readFileSync(new URL("../../src/vmstate/index.ts", import.meta.url), "utf8");
const kinds = [...barrel.matchAll(/export \{([^}]*)\} from "\.\/fields\//g)]
  .flatMap((match) => (match[1] ?? "").split(","))
  .map((name) => name.trim())
  .filter((name) => name !== "" && !name.startsWith("type "));

test.each(kinds)("%s has its row", (kind) => {
  expect(text).toMatch(new RegExp(`^\\|.*\`[^\`]*\\b${kind}\\(`, "m"));
});

test("every kind is looked for", () => expect(kinds.length).toBeGreaterThan(35));

test("every type of a recorded stream that is typed has its row", () => {
  for (const kind of [
    api.uint64Equal(),
    api.int32Le(),
    api.cpuDouble(),
    api.timer(),
    api.ptrMarker(),
    api.capability(),
  ])
    expect(text).toContain(`\`${kind.type}\``);
});

test("the first example", () => {
  const timer = api.vmstate({
    name: "timer",
    version: 2,
    minimumVersion: 1,
    fields: { irq: api.uint8(), load: api.uint64(), prescale: api.since(2, api.uint32()) },
  });
  const { bytes } = api.save(timer, { irq: 1, load: 2n, prescale: 3 });
  expect(text).toContain("// 01 0000000000000002 00000003");
  expect(hexOf(bytes)).toBe("01000000000000000200000003");
  expect(api.load(timer, { bytes: bytes.subarray(0, 9) }, { version: 1 })).toEqual({ irq: 1, load: 2n });
});

test("the kind of one's own", () => {
  const macAddress = (): api.Field<string> => ({
    type: "macaddr",
    size: 6,
    load: (reader) => Array.from(reader.buffer(6), (byte) => byte.toString(16).padStart(2, "0")).join(":"),
    save: (writer, value) => {
      if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(value))
        throw api.misfit("a MAC address such as 52:54:00:12:34:56", value);
      writer.buffer(Uint8Array.from(value.split(":"), (byte) => Number.parseInt(byte, 16)));
    },
  });
  const nic = api.vmstate({ name: "nic", version: 1, fields: { mac: macAddress() } });
  expect(api.load(nic, { bytes: bytesOf("525400123456") })).toEqual({ mac: "52:54:00:12:34:56" });
  expect(hexOf(api.save(nic, { mac: "52:54:00:12:34:56" }).bytes)).toBe("525400123456");
  expect(() => api.save(nic, { mac: "x" })).toThrow("nic/mac: expected a MAC address");
});
