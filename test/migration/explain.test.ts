// Texts of failed loads, as QEMU 7.2, 10.0 and 11.1 print them and as logs of libvirt, KubeVirt and Proxmox VE carry them:
// reports that people made in public, with other names, dates and addresses.

import { describe, expect, test } from "vitest";
import { rules } from "../../src/migration/explain/rules.ts";
import { explainLog, explanationCodes } from "../../src/migration/index.ts";

interface Case {
  readonly name: string;
  readonly log: string;
  /** [code, section, words of the explanation …], one for each that is expected. */
  readonly reasons: readonly (readonly [string, string | undefined, ...string[]])[];
}

const cases: readonly Case[] = [
  {
    name: "a log of libvirt: the power management of an i440FX machine",
    log: `2026-01-05 10:00:01.100+0000: starting up libvirt version: 8.0.0, qemu version: 6.2.0
2026-01-05T10:16:31.582070Z qemu-kvm: Missing section footer for 0000:00:01.3/piix4_pm
2026-01-05T10:16:31.582169Z qemu-kvm: load of migration failed: Invalid argument
2026-01-05 10:16:31.611+0000: shutting down, reason=failed`,
    reasons: [["missing-footer", "0000:00:01.3/piix4_pm", "acpi-pci-hotplug-with-bridge-support", "needs an update"]],
  },
  {
    name: "KubeVirt: features of a network card that the new tap does not have",
    log: [
      "Features 0x1c0010130afffaf unsupported. Allowed features: 0x10179bfffef",
      "Failed to load virtio-net:virtio",
      "error while loading state for instance 0x0 of device '0000:00:02.0:00.0/virtio-net'",
      "load of migration failed: Operation not permitted",
    ]
      .map((said, at) =>
        JSON.stringify({
          component: "virt-launcher-monitor",
          level: "info",
          msg: `2026-02-01T22:06:36.62${at}000Z qemu-kvm: ${said}`,
          pos: "virt-launcher-monitor.go:393",
        }),
      )
      .join("\n"),
    reasons: [["virtio-features", "0000:00:02.0:00.0/virtio-net", "bit 54", "backend", "kernel"]],
  },
  {
    name: "Proxmox VE: the connection ended in the middle of a section",
    log: `Jun 02 00:50:11 node2 QEMU[2538388]: kvm: check_section_footer: Read section footer failed: -5
Jun 02 00:50:11 node2 QEMU[2538388]: kvm: load of migration failed: Input/output error`,
    reasons: [["footer-cut", undefined, "-5: input/output error", "source's log"]],
  },
  {
    name: "a ROM of a card behind a bridge, and what its end caused",
    log: `qemu-system-x86_64: Unknown ramblock "0000:00:04.0:01.0/e1000.rom", cannot accept migration
qemu-system-x86_64: error while loading state for instance 0x0 of device 'ram'
cat: write error: Broken pipe
qemu-system-x86_64: load of migration failed: Invalid argument`,
    reasons: [["unknown-ram-block", "ram", "option ROM of the device e1000 at 0000:00:04.0:01.0"]],
  },
  {
    name: "an old machine type whose RAM has the path of its object",
    log: `qemu-system-ppc64: Unknown ramblock "/objects/ppc_spapr.ram", cannot accept migration
qemu-system-ppc64: error while loading state for instance 0x0 of device 'ram'
qemu-system-ppc64: load of migration failed: Invalid argument`,
    reasons: [["unknown-ram-block", "ram", "x-use-canonical-path-for-ramblock-id"]],
  },
  {
    name: "s390x: a section that a newer QEMU does not have for the old machine type",
    log: `2026-03-03T09:00:00.000000Z qemu-system-s390x: Unknown savevm section or instance 's390_css' 0. Make sure that your current VM setup matches your saved VM setup, including any hotplugged devices
2026-03-03T09:00:00.000100Z qemu-system-s390x: load of migration failed: Invalid argument`,
    reasons: [["unknown-section", "s390_css", "start the destination with the same devices"]],
  },
  {
    name: "ROMs of other packages: old words",
    log: `qemu: Length mismatch: 0000:00:03.0/virtio-net-pci.rom: 0x20000 in != 0x40000: Invalid argument
qemu: warning: error while loading state for instance 0x0 of device 'ram'
load of migration failed`,
    reasons: [["ram-size", "ram", "128 KiB in the stream and 256 KiB here", "romfile"]],
  },
  {
    name: "libvirt on the source: the CPU of the other host",
    log: `internal error: unable to execute QEMU command: operation failed: guest CPU doesn't match specification: missing features: vmx-rdrand-exit,vmx-vmfunc,fsrm`,
    reasons: [["cpu-features", "cpu", "vmx-rdrand-exit, vmx-vmfunc, fsrm", "named CPU model"]],
  },
  {
    name: "the kernel refuses a register of the CPU",
    log: `kvm: error: failed to set MSR 0x38f to 0x7000000ff
kvm: ../target/i386/kvm/kvm.c:2701: kvm_buf_set_msrs: Assertion \`ret == cpu->kvm_msr_buf->nmsrs' failed.`,
    reasons: [
      ["cpu-msr", "cpu", "MSR 0x38f", "microcode"],
      ["assertion", undefined, "kvm_buf_set_msrs"],
    ],
  },
  {
    name: "the source's side only: the reason is elsewhere",
    log: `2026-04-04T10:00:00.1Z qemu-system-x86_64: Unable to write to socket: Broken pipe
error: operation failed: migration out job: unexpectedly failed`,
    reasons: [
      ["connection-lost", undefined, "other QEMU's log"],
      ["other-log", undefined, "/var/log/libvirt/qemu/NAME.log"],
    ],
  },
  {
    name: "a queue that does not fit the guest's memory",
    log: `kvm: VQ 2 size 0x100 < last_avail_idx 0x8a3f - used_idx 0x0
kvm: Failed to load virtio-blk:virtio
kvm: error while loading state for instance 0x0 of device '0000:00:0a.0/virtio-blk'
kvm: load of migration failed: Operation not permitted`,
    reasons: [["virtio-queue", "0000:00:0a.0/virtio-blk", "does not fit guest memory"]],
  },
  {
    name: "an image that the other QEMU still holds",
    log: `qemu-system-x86_64: Failed to get "write" lock
Is another process using the image [/var/lib/vms/a.qcow2]?`,
    reasons: [["file-locked", undefined, "source has stopped"]],
  },
  {
    name: "no reason but -1",
    log: "qemu-system-x86_64: load of migration failed: Operation not permitted",
    reasons: [["unknown", undefined, "no question of rights"]],
  },
  {
    name: "a snapshot that can't be loaded",
    log: `Error: Missing section footer for 0000:00:02.0/xhci
Error -22 while loading VM state`,
    reasons: [["missing-footer", "0000:00:02.0/xhci", "arrays of other lengths"]],
  },
  {
    name: "QEMU 11.1: everything in one line",
    log: "qemu-system-x86_64: load of migration failed: Invalid argument: Unknown section or instance 'serial' 1. Make sure that your current VM setup matches your saved VM setup, including any hotplugged devices",
    reasons: [["unknown-section", "serial(1)", "isa-serial"]],
  },
  {
    name: "QEMU 11.1: a check after the load",
    log: "qemu-system-x86_64: load of migration failed: Invalid argument: error while loading state for instance 0x0 of device 'mc146818rtc': post load hook failed for: mc146818rtc, version_id: 3, minimum_version: 1, ret: -22",
    reasons: [["post-load", "mc146818rtc", "the check of mc146818rtc"]],
  },
  {
    name: "memory that CPR can't keep",
    log: "Error: Memory region pc.ram is not compatible with CPR. share=on is required for memory-backend objects, and aux-ram-share=on is required.",
    reasons: [["cpr-memory", undefined, '"pc.ram"', "aux-ram-share=on", "--mode copy"]],
  },
  {
    name: "CPR without its channel, and with a state that it can't read",
    log: `qemu-system-x86_64: bad cpr channel address; must be unix
qemu-system-x86_64: failed to load cpr state: Invalid argument`,
    reasons: [
      ["cpr-channel", undefined, "channel-type cpr"],
      ["cpr-state", undefined, "cprkit convert"],
    ],
  },
  {
    name: "QEMU 10.0 gets CPR's state of 11.1",
    log: "qemu-system-x86_64: vmstate_load_state error -2",
    reasons: [["cpr-state", undefined, "another form than 10.0", "cprkit convert STATE --for VERSION"]],
  },
  {
    name: "CPR's memory is handed over, and the new machine wants more",
    log: "qemu-system-x86_64: pc.ram backing store size 0x2000000 is too small for 'size' option 0x4000000 plus 'offset' option 0x0",
    reasons: [["ram-size", "ram", "32 MiB in the stream and 64 MiB here"]],
  },
  {
    name: "the source finds nobody",
    log: "qemu-system-x86_64: Failed to connect to '/run/vm/main.sock': No such file or directory",
    reasons: [["connection-lost", undefined, "nobody listens at /run/vm/main.sock"]],
  },
  {
    name: "what can't be migrated, on the source",
    log: "Error: State blocked by non-migratable device '0000:00:01.0/nvme'",
    reasons: [["not-migratable", "0000:00:01.0/nvme", "device_del"]],
  },
  {
    name: "the byte of a bridge, without a stream to name it by",
    log: `qemu-kvm: get_pci_config_device: Bad config data: i=0x6a read: b0 device: a0 cmask: ff wmask: 0 w1cmask:0
qemu-kvm: Failed to load PCIDevice:config
qemu-kvm: Failed to load pcie-root-port:parent_obj.parent_obj.parent_obj
qemu-kvm: error while loading state for instance 0x0 of device '0000:00:02.1/pcie-root-port'
qemu-kvm: load of migration failed: Invalid argument`,
    reasons: [["pci-config", "0000:00:02.1/pcie-root-port", "byte 0x6a", "cprkit explain STREAM"]],
  },
  {
    name: "the same failure again and again, and then another: each once, the last one last",
    log: `${"qemu: Machine type received is 'pc-q35-8.0' and local is 'pc-q35-7.2'\nqemu: load of migration failed: Invalid argument\n".repeat(3)}qemu: Unknown combination of migration flags: 0x200\nqemu: error while loading state for instance 0x0 of device 'ram'\nqemu: load of migration failed: Invalid argument\n`,
    reasons: [
      ["machine-type", "configuration", "-machine pc-q35-8.0"],
      ["bad-ram", "ram", "same migration capabilities"],
    ],
  },
  {
    name: "a log without a failure",
    log: "2026-01-01 00:00:00.000+0000: starting up libvirt version: 10.0.0\n",
    reasons: [],
  },
];

describe("explainLog", () => {
  for (const { name, log, reasons } of cases) {
    test(name, () => {
      const found = explainLog(log);
      expect(found.map(({ code, section }) => [code, section])).toEqual(
        reasons.map(([code, section]) => [code, section]),
      );
      for (const [at, [, , ...words]] of reasons.entries()) {
        const { what, why, remedy } = found[at] ?? {};
        for (const word of words) expect(`${what} ${why} ${remedy}`).toContain(word);
      }
    });
  }

  test("names the line, and what was said there", () => {
    expect(
      explainLog("a\nb\nqemu: Not a migration stream\nqemu: load of migration failed: Invalid argument"),
    ).toMatchObject([{ line: 3, said: "Not a migration stream" }]);
  });

  test("a hostile log costs time in proportion to its length", () => {
    const line = `Features 0x${"f".repeat(4000)} unsupported. Allowed features: 0x${"f".repeat(4000)}\n`;
    const long = "qemu: ".repeat(20_000) + "x".repeat(1_000_000);
    expect(explainLog(line.repeat(500) + long + "\n".repeat(300_000)).length).toBeLessThanOrEqual(100);
  }, 20_000);

  test("every rule has a code of the list", () => {
    for (const { code } of rules) expect(explanationCodes).toContain(code);
  });
});
