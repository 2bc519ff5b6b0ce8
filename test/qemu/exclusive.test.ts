// The trial of a command for cpr-exec goes without devices that only one process can open.
import { expect, it } from "vitest";
import { parseOptions } from "../../src/qemu/command-line/parse.ts";
import { isOfLeftOut, withoutExclusive } from "../../src/qemu/update/modes/exclusive.ts";

it("leaves out VFIO, vhost and USB devices of the host, in every form, and nothing else", () => {
  const json = '{"driver":"vfio-pci","id":"hd2","host":"0000:02:00.0"}';
  const options = parseOptions([
    ...["-device", "pcie-root-port,id=rp1", "-device", "vfio-pci,host=0000:01:00.0,id=hd1,bus=rp1", "-device", json],
    ...["-device", "id=scsi,driver=vhost-scsi-pci", "-device", "vhost-vsock-pci,guest-cid=3", "-device", "usb-host"],
    ...["-device", "virtio-net-pci,netdev=n", "-object", "iommufd,id=iommufd0", "-device", "usb-hub"],
  ]);
  const { kept, leftOut } = withoutExclusive(options);
  expect(leftOut).toEqual([
    { name: "hd1", path: "/machine/peripheral/hd1" },
    { name: "hd2", path: "/machine/peripheral/hd2" },
    { name: "scsi", path: "/machine/peripheral/scsi" },
    { name: "vhost-vsock-pci", path: "/machine/peripheral-anon/vhost-vsock-pci[" },
    { name: "usb-host", path: "/machine/peripheral-anon/usb-host[" },
  ]);
  expect(kept.map(({ value }) => value)).toEqual([
    ...["pcie-root-port,id=rp1", "virtio-net-pci,netdev=n", "iommufd,id=iommufd0", "usb-hub"],
  ]);
});

it("a machine without them differs in them alone", () => {
  const leftOut = [{ name: "hd1", path: "/machine/peripheral/hd1" }];
  expect(isOfLeftOut("qom[/machine/peripheral/hd1]", leftOut)).toBe(true);
  expect(isOfLeftOut("memory.blocks[unnamed[0] of 4096 bytes]", leftOut)).toBe(true);
  expect(isOfLeftOut("qom[/machine/peripheral/hd10]", leftOut)).toBe(false);
  expect(isOfLeftOut("memory.blocks[ram0].size", leftOut)).toBe(false);
  expect(isOfLeftOut("qom[/machine/peripheral/net0].properties.mac", leftOut)).toBe(false);
  expect(isOfLeftOut("memory.blocks[unnamed[0] of 4096 bytes]", [])).toBe(false);
});
