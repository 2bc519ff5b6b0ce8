// Describes a device once; saves it, loads an older stream of it, and shows where every byte came from.
// Run: npm run build && node examples/describe-a-device.mjs

import { existsIf, load, qlist, save, since, trace, uint8, uint32, uint64, vmstate } from "cprkit/vmstate";

const request = vmstate({ name: "timer/request", version: 1, fields: { deadline: uint64(), owner: uint8() } });

const timer = vmstate({
  name: "timer",
  version: 2,
  minimumVersion: 1,
  fields: {
    irq: uint32(),
    control: uint8(),
    // Conditional: only a periodic timer has it.
    period: existsIf(["control"], (/** @type {{ control: number }} */ { control }) => (control & 1) !== 0, uint32()),
    requests: qlist(request),
    // Optional: version 1 did not have it.
    prescale: since(2, uint32()),
  },
  preLoad: (state) => {
    state.prescale = 1; // what version 1 did not send
  },
});

const requests = [{ deadline: 1_000_000n, owner: 2 }];
const { bytes } = save(timer, { irq: 5, control: 1, period: 250, requests, prescale: 8 });
console.log("saved:", Buffer.from(bytes).toString("hex"));

// Without the bit in control, the field is not in the stream.
console.log("one-shot:", load(timer, save(timer, { irq: 5, control: 0, requests: [], prescale: 8 })));

// Version 1 ends before prescale.
console.log("version 1:", load(timer, { bytes: bytes.subarray(0, -4) }, { version: 1 }));

for (const { path, type, start, end, value } of trace(timer, { bytes }).spans) {
  console.log(`${start}..${end}`.padEnd(8), path, type, typeof value === "object" ? "" : value);
}
