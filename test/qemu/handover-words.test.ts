// Which fds of the running QEMU go to which options of the new command line, and by which words. No QEMU here.
import { describe, expect, it } from "vitest";
import { deriveCommandLine } from "../../src/qemu/command-line/derive.ts";
import { parseOptions } from "../../src/qemu/command-line/parse.ts";
import type { Held } from "../../src/qemu/handover/held.ts";

const tap = (fd: number, at: string, closeOnExec = false): Held => ({ fd, kind: "tap", at, closeOnExec });

function derive(words: string, held: readonly Held[], sideBySide = true) {
  const { args, handed, findings } = deriveCommandLine(parseOptions(words.split(" ")), {
    cwd: "/vm",
    held,
    sideBySide,
  });
  return { words: args.join(" "), fds: handed.map(({ fd }) => fd), codes: findings.map(({ code }) => code), handed };
}

const off = "script=no,downscript=no";

describe("taps on the new command line", () => {
  it("by name, with all that goes with opening left out", () => {
    const line = `-netdev tap,id=n0,ifname=tap0,${off},vhost=on,poll-us=5 -device virtio-net-pci,netdev=n0`;
    const derived = derive(line, [tap(8, "tap1"), tap(9, "tap0")]);
    expect(derived.words).toBe("-netdev tap,id=n0,vhost=on,poll-us=5,fd=10 -device virtio-net-pci,netdev=n0");
    expect(derived.handed).toEqual([{ name: "cprkit/netdev/n0", id: 0, fd: 9, at: 10, what: "tap tap0" }]);
    expect(derived.codes).toEqual([]);
  });

  it("by the numbers that a parent, or an update before, has given them", () => {
    const held = [tap(30, "tap0"), tap(31, "tap0"), tap(40, "/dev/tap3")];
    const line = "-netdev tap,id=a,fds=31:30,vhost=on,vhostfds=50:51 -nic tap,fd=40,model=e1000";
    const derived = derive(line, held);
    expect(derived.words).toBe("-netdev tap,id=a,vhost=on,fds=10:11 -nic tap,model=e1000,fd=12");
    expect(derived.fds).toEqual([31, 30, 40]);
    expect(derive('-netdev {"type":"tap","id":"n","fd":"30","vhost":true}', held).words).toBe(
      '-netdev {"type":"tap","id":"n","vhost":true,"fd":"10"}',
    );
  });

  it("several queues in their order, each with its own number", () => {
    const derived = derive(`-netdev tap,id=n0,ifname=tap0,queues=2,${off}`, [tap(8, "tap0"), tap(9, "tap0")]);
    expect(derived.words).toBe("-netdev tap,id=n0,fds=10:11");
    expect(derived.handed.map(({ id }) => id)).toEqual([0, 1]);
  });

  it("a single one without a name, as a helper makes it; of two nobody knows which is whose", () => {
    const helper = "-netdev bridge,id=n0,br=br0";
    expect(derive(helper, [tap(8, "tap0")]).words).toBe("-netdev tap,id=n0,fd=10");
    const two = derive(`${helper} -netdev tap,id=n1,helper=/h`, [tap(8, "tap0"), tap(9, "tap1")]);
    expect(two.fds).toEqual([]);
    const named = derive(`${helper} -netdev tap,id=n1,ifname=tap1,${off}`, [tap(8, "tap0"), tap(9, "tap1")]);
    expect(named.words).toBe("-netdev tap,id=n0,fd=10 -netdev tap,id=n1,fd=11");
  });

  it("in cpr-exec under the numbers that they have, unless exec closes them", () => {
    const line = `-netdev tap,id=n0,ifname=tap0,${off}`;
    expect(derive(line, [tap(8, "tap0")], false).words).toBe("-netdev tap,id=n0,fd=8");
    expect(derive(line, [tap(8, "tap0", true)], false).fds).toEqual([]);
  });

  it("an fd that is no tap stays refused", () => {
    expect(derive("-netdev tap,id=n0,fd=30", [tap(8, "tap0")]).codes).toEqual(["fd-option"]);
    expect(derive("-netdev tap,id=n0,fds=8:9", [tap(8, "tap0")]).codes).toEqual(["fd-option"]);
  });
});

const unix = (fd: number, at: string, closeOnExec = true): Held => ({ fd, kind: "unix", at, closeOnExec });

describe("listening sockets on the new command line", () => {
  it("in the long form, with the label that QEMU gives a short one", () => {
    const line =
      "-monitor none -qmp unix:q,server=on -serial null -serial unix:/run/s,server,nowait -qmp-pretty unix:p,server=on";
    const derived = derive(line, [unix(5, "/vm/q"), unix(6, "/run/s"), unix(7, "/vm/p")]);
    expect(derived.words).toBe(
      "-monitor none -chardev socket,id=compat_monitor0,server=on,wait=off,fd=10 -mon chardev=compat_monitor0,mode=control " +
        "-serial null -chardev socket,id=serial1,server,nowait,fd=11 -serial chardev:serial1 " +
        "-chardev socket,id=compat_monitor1,server=on,wait=off,fd=12 -mon chardev=compat_monitor1,mode=control,pretty=on",
    );
    expect(derived.fds).toEqual([5, 6, 7]);
    expect(derived.handed[0]).toMatchObject({ name: "cprkit/chardev/compat_monitor0", what: "unix /vm/q" });
  });

  it("not a monitor behind which another stays in the short form: QEMU numbers the labels of those from 0 on", () => {
    const held = [unix(5, "/vm/q"), unix(6, "/vm/p")];
    const derived = derive("-qmp unix:q,server=on -monitor stdio -qmp unix:p,server=on", held);
    expect(derived.words).toBe(
      "-qmp unix:q.cpr1,server=on,wait=off -monitor stdio " +
        "-chardev socket,id=compat_monitor2,server=on,wait=off,fd=10 -mon chardev=compat_monitor2,mode=control",
    );
  });

  it("of character devices, by path or by the number of an update before", () => {
    const held = [unix(5, "/vm/a"), unix(12, "/vm/b")];
    expect(derive("-chardev socket,id=a,path=a,server=on,logfile=l", held).words).toBe(
      "-chardev socket,id=a,server=on,logfile=l,wait=off,logappend=on,fd=10",
    );
    expect(derive("-chardev socket,id=b,server=on,wait=off,fd=12", held).words).toBe(
      "-chardev socket,id=b,server=on,wait=off,fd=10",
    );
  });

  it("not those that the connection which holds the place could not hold, nor what is not open", () => {
    const held = [unix(5, "/vm/a"), unix(6, "@a")];
    for (const more of ["telnet=on", "websocket=on", "tls-creds=t", "mux=on"]) {
      expect(derive(`-chardev socket,id=a,path=a,server=on,${more}`, held).fds).toEqual([]);
    }
    expect(derive("-chardev socket,id=a,path=a,server=on,abstract=on", held).fds).toEqual([]);
    expect(derive("-chardev socket,id=a,path=a", held).fds).toEqual([]);
    expect(derive("-gdb unix:/vm/a,server=on", held).fds).toEqual([]);
    expect(derive("-qmp unix:c,server=on", held).words).toBe("-qmp unix:c.cpr1,server=on,wait=off");
  });

  it("with cpr-exec those that stay open, the others by their path; cprkit's own monitor goes", () => {
    const line =
      "-chardev socket,id=a,server=on,fd=12 -chardev socket,id=b,server=on,fd=13 -mon chardev=cprkit-qmp,mode=control";
    const own = "-chardev socket,id=cprkit-qmp,path=/s/q,server=on";
    const derived = derive(`${line} ${own}`, [unix(12, "/vm/a", false), unix(13, "/vm/b")], false);
    expect(derived.words).toBe(
      "-chardev socket,id=a,server=on,wait=off,fd=12 -chardev socket,id=b,server=on,path=/vm/b,wait=off",
    );
  });
});

describe("fd sets on the new command line", () => {
  const set = (fd: number, at: string, opaque?: string): Held => ({
    ...{ fd, kind: "fdset", at, closeOnExec: true },
    ...(opaque === undefined ? {} : { opaque }),
  });
  const line = "-add-fd set=1,fd=40,opaque=a -blockdev driver=file,filename=/dev/fdset/1,node-name=d";

  it("with their words, as they are now, whoever gave them", () => {
    const derived = derive(line, [set(8, "1", "a"), set(9, "1"), set(11, "7", "by, QMP")]);
    expect(derived.words).toBe(
      "-blockdev driver=file,filename=/dev/fdset/1,node-name=d " +
        "-add-fd fd=10,set=1,opaque=a -add-fd fd=11,set=1 -add-fd fd=12,set=7,opaque=by,, QMP",
    );
    expect(derived.handed.map(({ name, id, fd }) => [name, id, fd])).toEqual([
      ["cprkit/fdset/1", 0, 8],
      ["cprkit/fdset/1", 1, 9],
      ["cprkit/fdset/7", 0, 11],
    ]);
    expect(derived.codes).toEqual([]);
  });

  it("refused where a set is empty by now, and with cpr-exec, which closes them", () => {
    expect(derive(line, []).codes).toEqual(["fd-option"]);
    expect(derive(line, [set(8, "1")], false).codes).toEqual(["fd-option", "fd-option"]);
  });
});

describe("TCP ports on the new command line", () => {
  const tcp = (fd: number, at: string): Held => ({ fd, kind: "tcp", at, closeOnExec: true });

  it("by address and port, in the long form; by the number of an update before", () => {
    const line =
      "-serial tcp:127.0.0.1:4444,server=on,nodelay=on -chardev socket,id=a,host=::1,port=4444,server=on,to=9 " +
      "-chardev socket,id=b,fd=7,server=on";
    const held = [tcp(5, "127.0.0.1:4444"), tcp(6, "[0:0:0:0:0:0:0:1]:4444"), tcp(7, "0.0.0.0:80")];
    const derived = derive(line, held);
    expect(derived.words).toBe(
      "-chardev socket,id=serial0,server=on,nodelay=on,wait=off,fd=10 -serial chardev:serial0 " +
        "-chardev socket,id=a,server=on,wait=off,fd=11 -chardev socket,id=b,server=on,wait=off,fd=12",
    );
    expect(derived.codes).toEqual([]);
    expect(derived.handed.map(({ what }) => what)).toContain("tcp 127.0.0.1:4444");
  });

  it("refused where a host has several addresses, for one fd can be given; and telnet", () => {
    const held = [tcp(5, "0.0.0.0:4444"), tcp(6, "[0:0:0:0:0:0:0:0]:4444")];
    expect(derive("-serial tcp::4444,server=on", held).codes).toEqual(["port-taken"]);
    expect(derive("-chardev socket,id=a,port=4444,server=on,telnet=on", [tcp(5, "0.0.0.0:4444")]).codes).toEqual([
      "port-taken",
    ]);
  });

  it("with cpr-exec by address and port, where the number is closed", () => {
    expect(derive("-chardev socket,id=b,fd=7,server=on", [tcp(7, "[0:0:0:0:0:0:0:1]:80")], false).words).toBe(
      "-chardev socket,id=b,server=on,host=::1,port=80,wait=off",
    );
  });
});

describe("networks that listen for their peer, on the new command line", () => {
  const tcp = (fd: number, at: string): Held => ({ fd, kind: "tcp", at, closeOnExec: true });

  it("by path, by port, as JSON, and by the number of an update before", () => {
    const held = [unix(5, "/vm/n"), tcp(6, "127.0.0.1:80"), unix(7, "/vm/j"), unix(12, "/vm/f")];
    const json = '{"type":"stream","id":"j","server":true,"addr":{"type":"unix","path":"j"}}';
    const line =
      "-netdev stream,id=n,server=on,addr.type=unix,addr.path=n -netdev stream,id=t,addr.type=inet,addr.host=127.0.0.1,addr.port=80,server=on " +
      `-netdev ${json} -netdev stream,id=f,server=on,addr.type=fd,addr.str=12`;
    const derived = derive(line, held);
    expect(derived.words).toBe(
      "-netdev stream,id=n,server=on,addr.type=fd,addr.str=10 -netdev stream,id=t,server=on,addr.type=fd,addr.str=11 " +
        '-netdev {"type":"stream","id":"j","server":true,"addr":{"type":"fd","str":"12"}} ' +
        "-netdev stream,id=f,server=on,addr.type=fd,addr.str=13",
    );
    expect(derived.handed.map(({ name, what }) => [name, what])).toEqual([
      ["cprkit/netdev/n", "unix /vm/n"],
      ["cprkit/netdev/t", "tcp 127.0.0.1:80"],
      ["cprkit/netdev/j", "unix /vm/j"],
      ["cprkit/netdev/f", "unix /vm/f"],
    ]);
    expect(derived.codes).toEqual([]);
  });

  it("where they can't be handed over: a name of its own, or refused", () => {
    expect(derive("-netdev stream,id=n,server=on,addr.type=unix,addr.path=n", []).words).toBe(
      "-netdev stream,id=n,server=on,addr.type=unix,addr.path=n.cpr1",
    );
    expect(derive("-netdev stream,id=t,server=on,addr.type=inet,addr.host=::1,addr.port=80", []).codes).toEqual([
      "port-taken",
    ]);
    expect(derive("-netdev stream,id=f,server=on,addr.type=fd,addr.str=12", []).codes).toEqual(["fd-option"]);
    // One that connects is another subject.
    expect(derive("-netdev stream,id=c,server=off,addr.type=unix,addr.path=n", [unix(5, "/vm/n")]).fds).toEqual([]);
  });
});
