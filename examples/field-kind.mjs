// A field kind of your own: a MAC address is six bytes on the wire and text in the state.
// Run: npm run build && node examples/field-kind.mjs

import { isCprkitError, load, misfit, save, uint16, vmstate } from "cprkit/vmstate";

/** @returns {import("cprkit/vmstate").Field<string>} */
const macAddress = () => ({
  type: "mac",
  size: 6,
  load: (reader) => Array.from(reader.buffer(6), (byte) => byte.toString(16).padStart(2, "0")).join(":"),
  save: (writer, value) => {
    if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(value)) throw misfit("an address such as 52:54:00:12:34:56", value);
    writer.buffer(Uint8Array.from(value.split(":"), (part) => Number.parseInt(part, 16)));
  },
});

const nic = vmstate({ name: "nic", version: 1, fields: { mac: macAddress(), mtu: uint16() } });

const { bytes } = save(nic, { mac: "52:54:00:12:34:56", mtu: 1500 });
console.log("saved:", Buffer.from(bytes).toString("hex"));
console.log("loaded:", load(nic, { bytes }));

// The error names the field, like those of the kinds that come with cprkit.
try {
  save(nic, { mac: "52:54", mtu: 1500 });
} catch (error) {
  if (!isCprkitError(error)) throw error;
  console.log("refused:", error.code, error.message);
}
