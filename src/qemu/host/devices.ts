// Devices that a new QEMU opens by itself.

import { closeSync, constants, existsSync, openSync, readdirSync } from "node:fs";
import { libc } from "../../linux/ffi/koffi.ts";
import { fine, type HostFact, hinders, note } from "./fact.ts";

const kvmGetApiVersion = 0xae00;
const vfioGetApiVersion = 0x3b64;

/** /dev/kvm, asked for its version. */
export function kvmFact(): HostFact {
  const answer = ask("/dev/kvm", kvmGetApiVersion);
  if (answer === 12) return fine("kvm", "/dev/kvm answers");
  if (answer === "ENOENT") return note("kvm", "there is no /dev/kvm: VMs run without KVM here");
  const text = `/dev/kvm can't be used (${answer}): a new QEMU of a VM with KVM can't start with this user's rights`;
  return hinders("kvm", text, "give this user the group of /dev/kvm, or run cprkit as root");
}

/** VFIO, by its container or by iommufd. */
export function vfioFact(): HostFact {
  const container = ask("/dev/vfio/vfio", vfioGetApiVersion);
  const iommufd = existsSync("/dev/iommu");
  const groups = existsSync("/dev/vfio") ? readdirSync("/dev/vfio").filter((name) => name !== "vfio").length : 0;
  if (container === "ENOENT" && !iommufd)
    return note("vfio", "neither /dev/vfio/vfio nor /dev/iommu: no VFIO devices here");
  const what = [
    ...(container === "ENOENT" ? [] : [container === 0 ? "/dev/vfio/vfio answers" : `/dev/vfio/vfio: ${container}`]),
    ...(iommufd ? ["/dev/iommu is there"] : []),
    `${groups} groups or devices`,
  ].join(", ");
  // CPR hands a VFIO device over as an fd: opening it is not needed.
  return container === 0 || iommufd ? fine("vfio", what) : note("vfio", what);
}

/** What an ioctl(2) without an argument returns, or the name of the error. */
function ask(path: string, request: number): number | string {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDWR);
    const result = libc().ioctlValue(fd, request, 0);
    return result < 0 ? `the kernel says ${result === -25 ? "ENOTTY: it is something else" : result}` : result;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
