// Release notes, by keep-a-changelog from CHANGELOG.md: `npm run notes` prints those of the newest release, and
// `npm run release -- 0.2.0` gives what is unreleased a version and today's date, there and in both packages.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parser, Release } from "keep-a-changelog";
import { publicSubpaths } from "./api.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** What a release's changes are grouped by: a user looks for the subpath that they import. */
export const groups = [
  ...publicSubpaths().map(({ name }) => (name === "cprkit" ? name : `cprkit/${name}`)),
  "command line",
  "cprkit-fleet",
  "project",
];

/** @param {string} text CHANGELOG.md */
export function parseChangelog(text) {
  return parser(text, {
    releaseCreator: (version, date, description) => {
      const release = new Release(version, date, description);
      release.changes = new Map(groups.map((group) => [group, []]));
      return release;
    },
  });
}

/** The package's own names begin with a small letter. */
const asText = (part) => part.toString().replaceAll("### Cprkit", "### cprkit");

function main([job, version]) {
  const path = join(root, "CHANGELOG.md");
  const changelog = parseChangelog(readFileSync(path, "utf8"));
  const [newest] = changelog.releases;
  if (job === "notes") {
    process.stdout.write(`${asText(newest)}\n`);
    return;
  }
  if (job !== "release" || !/^\d+\.\d+\.\d+$/.test(version ?? "") || newest.version !== undefined) {
    process.stderr.write('cprkit: expected "notes", or "release VERSION" with unreleased changes in CHANGELOG.md\n');
    process.exit(2);
  }
  newest.setVersion(version);
  newest.setDate(new Date());
  writeFileSync(path, `${asText(changelog)}\n`);
  edit("package.json", (manifest) => {
    manifest.version = version;
  });
  edit("fleet/package.json", (fleet) => ofFleet(fleet, version));
  edit("package-lock.json", (lock) => {
    lock.version = version;
    lock.packages[""].version = version;
    ofFleet(lock.packages.fleet, version);
  });
}

/** The fleet's package has the same version, and works with a cprkit of that version. */
function ofFleet(fleet, version) {
  fleet.version = version;
  fleet.peerDependencies.cprkit = `^${version}`;
}

function edit(path, change) {
  const json = JSON.parse(readFileSync(join(root, path), "utf8"));
  change(json);
  writeFileSync(join(root, path), `${JSON.stringify(json, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
