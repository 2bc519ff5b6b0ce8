// Certificates for the tests and the demonstration of a fleet: an authority, and what it signs. Not for production.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generate } from "selfsigned";

/**
 * @typedef {object} Authority
 * @property {string} ca path of its own certificate
 * @property {(name: string, hosts?: readonly string[]) => Promise<{ cert: string, key: string }>} issue a certificate for
 *   a common name and, of a server, its host names; paths of both files
 */

/** Makes an authority whose files are in `dir`. @param {string} dir @returns {Promise<Authority>} */
export async function makeAuthority(dir) {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const common = { keyType: /** @type {const} */ ("ec"), curve: /** @type {const} */ ("P-256"), algorithm: "sha256" };
  const own = await generate([{ name: "commonName", value: "cprkit fleet test authority" }], {
    ...common,
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, digitalSignature: true, critical: true },
    ],
  });
  const ca = join(dir, "ca.pem");
  writeFileSync(ca, own.cert);
  return {
    ca,
    issue: async (name, hosts = []) => {
      const altNames = hosts.map((value) => ({ type: /** @type {const} */ (2), value }));
      const made = await generate([{ name: "commonName", value: name }], {
        ...common,
        ca: { key: own.private, cert: own.cert },
        extensions: [
          { name: "basicConstraints", cA: false },
          ...(altNames.length === 0 ? [] : [{ name: /** @type {const} */ ("subjectAltName"), altNames }]),
        ],
      });
      const files = { cert: join(dir, `${name}.pem`), key: join(dir, `${name}.key`) };
      writeFileSync(files.cert, made.cert);
      writeFileSync(files.key, made.private, { mode: 0o600 });
      return files;
    },
  };
}
