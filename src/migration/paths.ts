// How a section and a field are named in results, messages and on the command line.

/**
 * The name of a section with its instance: "timer", or "serial(1)" for any other instance than 0.
 * `checkMigration` and `diffMigrations` name sections so.
 */
export function sectionLabel({ name, instance }: { readonly name: string; readonly instance: number }): string {
  return instance === 0 ? name : `${name}(${instance})`;
}

/**
 * The path of the field `name` inside `path`: "parent_obj/config", "regs[3]" for an element. `path` is "" for the
 * section itself. A subsection's own name has slashes ("cpu/fpu"), which stay as they are.
 */
export function fieldPath(path: string, name: string | number): string {
  if (typeof name === "number") return `${path}[${name}]`;
  return path === "" ? name : `${path}/${name}`;
}
