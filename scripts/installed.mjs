// Which packages of a lock file come with cprkit itself: neither tools for development nor what only a workspace needs.

/**
 * @param {{ packages: Record<string, { dependencies?: Record<string, string>,
 *   optionalDependencies?: Record<string, string> }> }} lock a package-lock.json
 * @returns {Set<string>} their folders, such as "node_modules/zod"
 */
export function installedWith({ packages }) {
  const found = new Set();
  const visit = (/** @type {string} */ path) => {
    const { dependencies, optionalDependencies } = packages[path] ?? {};
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const folder = folderOf(packages, path, name);
      if (folder === undefined || found.has(folder)) continue;
      found.add(folder);
      visit(folder);
    }
  };
  visit("");
  return found;
}

/**
 * Where Node finds `name` from the package at `path`.
 *
 * @param {Record<string, unknown>} packages
 * @param {string} path
 * @param {string} name
 */
function folderOf(packages, path, name) {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf("/node_modules/")))) {
    const folder = `${at === "" ? "" : `${at}/`}node_modules/${name}`;
    if (packages[folder] !== undefined) return folder;
    if (at === "") return undefined;
  }
}
