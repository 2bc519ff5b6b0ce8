// Run with --experimental-vm-modules: loads the built package into a realm that has nothing but ECMAScript, and
// prints what the vectors gave there as JSON.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import vm from "node:vm";

const context = vm.createContext({}, { codeGeneration: { strings: false, wasm: false } });
// V8 puts its own console into every context.
vm.runInContext("delete globalThis.console", context);
const modules = new Map();

function moduleAt(url) {
  let module = modules.get(url);
  if (module === undefined) {
    module = new vm.SourceTextModule(readFileSync(fileURLToPath(url), "utf8"), { context, identifier: url });
    modules.set(url, module);
  }
  return module;
}

const entry = moduleAt(new URL(process.argv[2], "file:").href);
await entry.link((specifier, { identifier }) => {
  if (!specifier.startsWith(".")) throw new Error(`${identifier} imports ${specifier}`);
  return moduleAt(new URL(specifier, identifier).href);
});
await entry.evaluate();
// A module's namespace can be handed in; the vectors themselves must be made inside, of that realm's own types.
context.vmstate = entry.namespace;
const vectors = readFileSync(new URL("./bare-realm-vectors.js", import.meta.url), "utf8");
process.stdout.write(vm.runInContext(vectors, context));
