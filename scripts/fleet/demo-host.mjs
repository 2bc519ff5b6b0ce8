// A host of the demonstration: its VMs, and its agent, in one network namespace. Words: folder, name of the host, the old
// QEMU, how many VMs.

import { spawn } from "node:child_process";
import { mkdirSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { guestFirmware } from "../../dist/cli/demo/guest-firmware.js";

const [folder = "", host = "", qemu = "", count = "0"] = process.argv.slice(2);

for (let at = 1; at <= Number(count); at++) {
  const dir = join(folder, host, "vms", `v${at}`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileSync(join(dir, "guest.rom"), guestFirmware());
  const log = openSync(join(dir, "log"), "a");
  const words = [
    ...["-name", `guest=${host}-v${at}`, "-machine", "pc-q35-10.0,accel=tcg,memory-backend=ram,aux-ram-share=on"],
    ...["-m", "32", "-object", "memory-backend-memfd,id=ram,size=32M,share=on"],
    ...["-display", "none", "-nodefaults", "-no-user-config", "-bios", join(dir, "guest.rom")],
    ...["-chardev", `file,id=serial,path=${join(dir, "serial")},append=on`, "-serial", "chardev:serial"],
    ...["-qmp", `unix:${join(dir, "qmp.sock")},server=on,wait=off`],
  ];
  spawn(qemu, words, { stdio: ["ignore", log, log], cwd: dir });
}

const cprkit = fileURLToPath(new URL("../../bin/cprkit", import.meta.url));
const log = openSync(join(folder, host, "agent.log"), "a");
const words = [cprkit, "fleet", "agent", "--config", join(folder, host, "fleet.yaml"), "--json"];
const agent = spawn(process.execPath, words, { stdio: ["ignore", log, log] });
process.once("SIGTERM", () => agent.kill());
agent.once("exit", (code) => process.exit(code ?? 1));
