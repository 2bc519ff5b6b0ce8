// A hash table whose keys are structures, compared by content: a Map would compare them by identity.
// Run: npm run build && node examples/ghash-by-content.mjs

import { ghash, load, save, uint8, uint32, vmstate } from "cprkit/vmstate";

/** @typedef {{ bus: number, slot: number }} Address */
/** @typedef {{ vector: number }} Route */

const address = vmstate({ name: "address", version: 1, fields: { bus: uint8(), slot: uint8() } });
const route = vmstate({ name: "route", version: 1, fields: { vector: uint32() } });

function routeTable() {
  /** @type {Map<string, { key: Address, value: Route }>} */
  const entries = new Map();
  const content = (/** @type {Address} */ { bus, slot }) => `${bus}:${slot}`;
  return {
    get size() {
      return entries.size;
    },
    forEach(/** @type {(value: Route, key: Address) => void} */ visit) {
      for (const { key, value } of entries.values()) visit(value, key);
    },
    set(/** @type {Address} */ key, /** @type {Route} */ value) {
      entries.set(content(key), { key, value });
    },
    get: (/** @type {Address} */ key) => entries.get(content(key))?.value,
  };
}

// Keys and values are saved at version 1, so the field has to say that they are loaded at it.
const routes = ghash({ version: 1, key: address, value: route, create: routeTable });
const bridge = vmstate({ name: "bridge", version: 1, fields: { routes } });

const table = routeTable();
table.set({ bus: 0, slot: 3 }, { vector: 40 });
table.set({ bus: 0, slot: 4 }, { vector: 41 });
table.set({ bus: 0, slot: 3 }, { vector: 42 }); // an equal key: it replaces the first

const { bytes } = save(bridge, { routes: table });
const loaded = load(bridge, { bytes });
console.log("entries:", loaded.routes.size);
console.log("slot 3:", loaded.routes.get({ bus: 0, slot: 3 }));
