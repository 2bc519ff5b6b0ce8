// Release notes, by keep-a-changelog from CHANGELOG.md: `npm run notes` prints those of the newest release, and
// `npm run release -- 0.2.0` gives what is unreleased a version and today's date, there and in package.json.

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
  const manifest = join(root, "package.json");
  writeFileSync(manifest, readFileSync(manifest, "utf8").replace(/"version": "[^"]*"/, `"version": "${version}"`));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
