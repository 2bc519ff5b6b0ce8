// How the successor's command line is derived, without any QEMU.
import { describe, expect, it } from "vitest";
import { deriveCommandLine, machineOf } from "../../src/qemu/command-line/derive.ts";
import { qmpSocketPaths } from "../../src/qemu/command-line/monitors.ts";
import {
  areKnownOptions,
  formatOptions,
  parseKeyValues,
  parseOptions,
  shellQuoted,
} from "../../src/qemu/command-line/parse.ts";
import { systemdService } from "../../src/qemu/preflight/systemd-unit.ts";
import { optionsWithoutValue } from "../../src/qemu/vm/own-options.ts";

const nothingThere = { cwd: "/vm", exists: () => false };

function derive(words: string, how: Partial<Parameters<typeof deriveCommandLine>[1]> = {}) {
  return deriveCommandLine(parseOptions(words.split(" ")), { ...nothingThere, ...how });
}

const codes = (words: string) => derive(words).findings.map(({ code }) => code);

describe("options", () => {
  it("keeps every word, whatever it looks like", () => {
    const words = ["-S", "--enable-kvm", "-append", "-x -y", "disk.img", "-m", "1G", "-nographic"];
    const options = parseOptions(words);
    expect(options.map(({ name }) => name)).toEqual(["S", "enable-kvm", "append", "", "m", "nographic"]);
    expect(formatOptions(options)).toEqual(words.map((word) => word.replace("--", "-")));
  });

  it("reads doubled commas", () => {
    expect(parseKeyValues("file,path=/a,,b,append")).toEqual([
      ["file", undefined],
      ["path", "/a,b"],
      ["append", undefined],
    ]);
  });

  it("quotes for a shell only what needs it", () => {
    expect(shellQuoted(["qemu", "-name", "it's", "a,b=c"])).toBe(`qemu -name 'it'\\''s' a,b=c`);
  });
});

describe("deriving", () => {
  const cases: readonly (readonly [what: string, from: string, to: string])[] = [
    [
      "drops an earlier -incoming, -S and -daemonize",
      "-m 1G -incoming defer -S -daemonize -nodefaults",
      "-m 1G -nodefaults",
    ],
    ["gives QMP a new path", "-qmp unix:q,server=on,wait=off", "-qmp unix:q.cpr1,server=on,wait=off"],
    ["counts generations on", "-qmp unix:/q.cpr7,server=on", "-qmp unix:/q.cpr8,server=on,wait=off"],
    ["moves monitors behind mon:", "-serial mon:unix:s,server,nowait", "-serial mon:unix:s.cpr1,server,nowait"],
    ["leaves a socket alone that QEMU only connects to", "-serial unix:log.sock", "-serial unix:log.sock"],
    [
      "moves listening chardevs",
      "-chardev socket,id=c,path=p,server=on,wait=off",
      "-chardev socket,id=c,path=p.cpr1,server=on,wait=off",
    ],
    ["appends to a chardev's file", "-chardev file,id=c,path=l", "-chardev file,id=c,path=l,append=on"],
    ["appends to a logfile", "-chardev null,id=c,logfile=l", "-chardev null,id=c,logfile=l,logappend=on"],
    [
      "turns a serial file into one that is appended to",
      "-serial file:a.log",
      "-chardev file,id=serial0,path=a.log,append=on -serial chardev:serial0",
    ],
    [
      "keeps the label of each serial port, whatever comes before it",
      "-serial null -serial file:b.log",
      "-serial null -chardev file,id=serial1,path=b.log,append=on -serial chardev:serial1",
    ],
    [
      "does not take a label that is there",
      "-chardev null,id=serial0 -serial file:a",
      "-chardev null,id=serial0 -chardev file,id=cprkit-serial0,path=a,append=on -serial chardev:cprkit-serial0",
    ],
    [
      "does not wait for a client",
      "-chardev socket,id=c,path=p,server=on",
      "-chardev socket,id=c,path=p.cpr1,server=on,wait=off",
    ],
    ["drops a change of user that has been made", "-run-with user=qemu -m 1G", "-m 1G"],
    [
      "drops what would end the new QEMU together with cprkit",
      "-run-with async-teardown=on,exit-with-parent=on",
      "-run-with async-teardown=on",
    ],
    ["moves the pidfile", "-pidfile vm.pid", "-pidfile vm.pid.cpr1"],
    ["moves VNC on a socket", "-vnc unix:v,password=on", "-vnc unix:v.cpr1,password=on"],
  ];
  for (const [what, from, to] of cases) {
    it(what, () => expect(derive(from).args.join(" ")).toBe(to));
  }

  it("moves nothing for cpr-exec, where the names are free", () => {
    const line = "-qmp unix:q,server=on -pidfile p -vnc :1";
    const derived = derive(line, { sideBySide: false });
    expect(derived.args.join(" ")).toBe("-qmp unix:q,server=on,wait=off -pidfile p -vnc :1");
    expect(derived.moved).toEqual([]);
    expect(derived.findings).toEqual([]);
  });

  it("names guest RAM whose file has no name, and the GUID that the guest has seen, in the form that is there", () => {
    const how = { memoryFiles: new Map([["ram0", "/proc/7/fd/9"]]), generationId: "the-guid" };
    const line = "-object memory-backend-file,id=ram0,mem-path=/huge -device vmgenid,guid=auto";
    expect(derive(line, how).args.join(" ")).toBe(
      "-object memory-backend-file,id=ram0,mem-path=/proc/7/fd/9 -device vmgenid,guid=the-guid",
    );
    const json = '-object {"id":"ram0","mem-path":"/huge"} -device {"driver":"vmgenid","guid":"auto"}';
    expect(derive(json, how).args.join(" ")).toBe(
      '-object {"id":"ram0","mem-path":"/proc/7/fd/9"} -device {"driver":"vmgenid","guid":"the-guid"}',
    );
    expect(derive("-device vmgenid,guid=fixed", how).args.join(" ")).toBe("-device vmgenid,guid=fixed");
    expect(derive(line, { ...how, sideBySide: false }).findings.map(({ code }) => code)).toEqual(["memory-file"]);
  });

  it("passes over names that are taken", () => {
    const derived = derive("-qmp unix:q,server=on", { exists: (path) => path === "/vm/q.cpr1" });
    expect(derived.moved).toEqual([{ kind: "socket", public: "/vm/q", old: "/vm/q", new: "/vm/q.cpr2" }]);
  });

  it("writes the machine's type in place of its alias, wherever it stands", () => {
    const machine = "pc-q35-10.0";
    expect(derive("-machine q35,accel=kvm", { machine }).args.join(" ")).toBe("-machine pc-q35-10.0,accel=kvm");
    expect(derive("-M accel=kvm,type=q35", { machine }).args.join(" ")).toBe("-M accel=kvm,type=pc-q35-10.0");
    expect(derive("-m 1G", { machine }).args.join(" ")).toBe("-machine pc-q35-10.0 -m 1G");
    expect(derive("-machine accel=tcg", { machine }).args.join(" ")).toBe("-machine pc-q35-10.0 -machine accel=tcg");
  });

  it("keeps what Proxmox VE says behind the type, and its option -id", () => {
    const words = (type: string) => derive(`-id 100 -machine hpet=off,type=${type}`, { machine: "pc-i440fx-9.2" }).args;
    const own = ["-id", "100", "-machine", "hpet=off,type=pc-i440fx-9.2+pve1"];
    expect([words("pc+pve1"), words("pc-i440fx-9.2+pve1")]).toEqual([own, own]);
    expect(derive("-M q35+pve0", { machine: "pc-q35-9.2" }).args).toEqual(["-M", "pc-q35-9.2+pve0"]);
    const asked = (words: string) => machineOf(parseOptions(words.split(" ")));
    expect([asked("-machine type=pc+pve0"), asked("-M pc-q35-9.2+pve12"), asked("-M q35")]).toEqual([
      ...["pc", "pc-q35-9.2", "q35"],
    ]);
  });

  it("leaves the old binary's firmware folders out, not the others", () => {
    const line = "-L /opt/old/share/qemu -L /usr/share/extra";
    expect(derive(line, { oldPrefix: "/opt/old" }).args.join(" ")).toBe("-L /usr/share/extra");
  });

  it("refuses what Proxmox VE would lose sight of; the process that stays it knows", () => {
    const line = "-pidfile /var/run/qemu-server/100.pid";
    expect(codes(line)).toEqual(["proxmox-pidfile"]);
    expect(codes(`${line}.cpr2`)).toEqual(["proxmox-pidfile"]);
    expect(codes("-pidfile /run/vm1.pid")).toEqual([]);
    const stays = derive(line, { sideBySide: false });
    expect([stays.findings, stays.args.join(" ")]).toEqual([[], line]);
  });

  it("names what can't be had twice", () => {
    expect(codes("-qmp tcp:localhost:4444,server=on")).toEqual(["port-taken"]);
    expect(codes("-vnc :0")).toEqual(["port-taken"]);
    expect(codes("-vnc none")).toEqual([]);
    expect(codes("-netdev user,id=n,hostfwd=tcp::2222-:22")).toEqual(["port-taken"]);
    expect(codes("-netdev tap,id=n,fd=7")).toEqual(["fd-option"]);
    expect(codes('-netdev {"type":"tap","id":"n","fd":"7"}')).toEqual(["fd-option"]);
    expect(codes("-drive file=/dev/fdset/1")).toEqual(["fd-option"]);
    expect(codes("-snapshot")).toEqual(["snapshot"]);
    expect(codes("-run-with exit-with-parent=on")).toEqual(["parent-exit"]);
    expect(codes("-run-with chroot=/srv/vm")).toEqual(["chroot"]);
    expect(codes("-serial stdio")).toEqual(["stdio"]);
    expect(codes(`-qmp unix:/${"x".repeat(103)},server=on`)).toEqual(["socket-path"]);
  });
});

describe("QMP monitors on a command line", () => {
  it("finds them in every form", () => {
    const line =
      "-qmp unix:a,server=on -chardev socket,id=m,path=/b,server=on -mon chardev=m,mode=control " +
      "-chardev socket,id=o,path=c,server=on -object monitor-qmp,id=x,chardev=o -qmp unix:client " +
      "-chardev socket,id=h,path=d,server=on -mon chardev=h,mode=readline";
    expect(qmpSocketPaths(parseOptions(line.split(" ")), "/vm")).toEqual(["/vm/a", "/b", "/vm/c"]);
  });
});

describe("the service of a QEMU", () => {
  const say = (text: string | undefined) => systemdService("/system.slice/vm1.service", async () => text);

  it("is read as systemd shows it", async () => {
    expect(await say("MainPID=4711\nPIDFile=\n")).toEqual({ name: "vm1.service", mainPid: 4711, pidFile: "" });
    expect(await say("MainPID=1\nPIDFile=/run/vm1.pid\n")).toMatchObject({ mainPid: 1, pidFile: "/run/vm1.pid" });
    expect(await say(undefined)).toBeUndefined();
  });

  it("is asked of the innermost unit, of the right manager, and only if that is a service", async () => {
    const asked: string[] = [];
    const show = async (unit: string, isUser: boolean) => {
      asked.push(`${unit} ${isUser}`);
      return undefined;
    };
    await systemdService("/user.slice/user-1000.slice/user@1000.service/app.slice/vm.service/sub", show);
    await systemdService("/machine.slice/machine-qemu-1.scope/libvirt/emulator", show);
    await systemdService("/system.slice/vm.service", show);
    await systemdService(undefined, show);
    expect(asked).toEqual(["vm.service true", "vm.service false"]);
  });
});

describe("options without a value", () => {
  const help = [
    "-h or -help     display this help and exit",
    "-machine [type=]name[,prop=value[,...]]",
    "                selects emulated machine ('-machine help' for list)",
    "-M              as -machine",
    "-dtb    file    use 'file' as device tree image",
    "-perfmap        generate a map file",
    "-enable-sync-profile",
    "                enable synchronization profiling",
    "--preconfig     pause QEMU before machine is initialized",
    "-smp [[cpus=]n][,maxcpus=maxcpus]",
  ].join("\n");

  it("are those with nothing behind their name in the help", () => {
    expect([...optionsWithoutValue(help)]).toEqual(["perfmap", "enable-sync-profile", "preconfig"]);
  });

  it("are asked for only where the command line has one that is in no list of ours", () => {
    expect(areKnownOptions(["-S", "-m", "64", "-name", "-brand-new", "disk.img", "--preconfig"])).toBe(true);
    expect(areKnownOptions(["-S", "-brand-new"])).toBe(false);
    // Without a value in 7.2, with one later.
    expect(areKnownOptions(["-async-teardown"])).toBe(false);
  });

  it("do not swallow the word after them", () => {
    const words = ["-brand-new", "-qmp", "unix:q,server=on"];
    expect(parseOptions(words).map(({ name }) => name)).not.toContain("qmp");
    expect(parseOptions(words, new Set(["brand-new"])).map(({ name }) => name)).toEqual(["brand-new", "qmp"]);
  });
});
