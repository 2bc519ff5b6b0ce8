// QEMU's tree of objects, read over QMP (QEMU 10.0 qapi/qom.json). An object's children are among its properties.

import type { WaitOptions } from "../../linux/index.ts";
import type { Qmp } from "./client.ts";

/** An object in another one. */
export interface QomChild {
  readonly name: string;
  readonly path: string;
  /** Its type, such as "virtio-net-pci". */
  readonly type: string;
}

/** The folders of the devices that were added to a machine: those with an id, and those without. */
export const addedDevices = ["/machine/peripheral", "/machine/peripheral-anon"] as const;

/** The children of the object at `path`, in QEMU's order. @throws CprkitError as {@link Qmp.execute} */
export async function qomChildren(qmp: Qmp, path: string, options?: WaitOptions): Promise<QomChild[]> {
  const properties = await qmp.execute("qom-list", { path }, options);
  return properties.flatMap((property) => {
    // Such as "child<virtio-net-pci>"; "link<...>" and plain properties lead nowhere or up.
    const type = /^child<(.*)>$/.exec(property.type)?.[1];
    return type === undefined ? [] : [{ name: property.name, path: `${path}/${property.name}`, type }];
  });
}

/**
 * Those of the properties `names` that the object at `path` has: which it has depends on its type and QEMU's version,
 * and asking for one that is absent is an error.
 *
 * @throws CprkitError as {@link Qmp.execute}
 */
export async function qomProperties<N extends string>(
  qmp: Qmp,
  path: string,
  names: readonly N[],
  options?: WaitOptions,
): Promise<{ readonly [name in N]?: unknown }> {
  const present = new Set((await qmp.execute("qom-list", { path }, options)).map(({ name }) => name));
  const values = names
    .filter((name) => present.has(name))
    .map(async (property) => [property, await qmp.execute("qom-get", { path, property }, options)] as const);
  return Object.fromEntries(await Promise.all(values)) as { [name in N]?: unknown };
}
