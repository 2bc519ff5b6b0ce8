// Reads a recorded migration stream and prints the fields of one device. Without arguments, a stream from the tests. Run:
// npm run build && node examples/read-a-capture.mjs [FILE or - [DEVICE [FIELD]]]

import { fileURLToPath } from "node:url";
import { openSource } from "cprkit/files";
import { readMigration, sectionLabel, selectFields, walkFields } from "cprkit/migration";

const recorded = fileURLToPath(new URL("../test/fixtures/migration/cpr-main-microvm-10.0.mig", import.meta.url));
const [path = recorded, device = "i8254", only] = process.argv.slice(2);

const input = openSource(path);
try {
  const { machine, sections, stopped } = await readMigration(input.source);
  console.log(`machine ${machine}, ${sections.length} sections`);
  // A stream that was cut gives all that came before the cut.
  if (stopped !== undefined) console.log(`stopped: ${stopped.message}`);

  const section = sections.find((one) => sectionLabel(one) === device);
  if (section === undefined) {
    throw new Error(`there is no section "${device}", only ${sections.map(sectionLabel).join(", ")}`);
  }
  const fields = only === undefined ? section.fields : selectFields(section.fields, ({ path }) => path === only);
  for (const { path, field, depth } of walkFields(fields)) {
    console.log(`${"  ".repeat(depth)}${path}: ${field.fields === undefined ? field.value : field.type}`);
  }
} finally {
  input.close();
}
