// The new QEMU is nobody's child when its pidfile is handed over: systemd would end it by SIGKILL as "not our child".
import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { endAll, runStates, startPlain } from "./update-support.ts";

afterEach(endAll);

describeQemu("the new QEMU's parent", ["10.0", "11.1"], (qemu) => {
  it("is init, or the nearest subreaper, before the pidfile names it", async () => {
    const vm = await startPlain(qemu["10.0"], (dir) => ["-pidfile", join(dir, "pid")]);
    const pidfile = join(vm.dir, "pid");
    // Looks without a pause, from before the update: at the first other pid it says whose child that is.
    const look = `while p=$(cat "$0" 2>/dev/null); [ -z "$p" ] || [ "$p" = "$1" ]; do :; done; grep ^PPid: /proc/$p/status`;
    const watcher = spawn("/bin/sh", ["-c", look, pidfile, String(vm.pid)], { stdio: ["ignore", "pipe", "inherit"] });
    const said = new Promise<string>((resolve) => watcher.stdout.on("data", (text) => resolve(String(text))));
    try {
      const report = await updateVm({ qmp: vm.qmp }, { stateDir: vm.stateDir, qemu: qemu["11.1"] });
      expect(Number(readFileSync(pidfile, "utf8"))).toBe(report.pid);
      expect(Number((await said).replace(/\D/g, ""))).toBe(parentOfOrphans());
    } finally {
      watcher.kill();
    }
  });

  it("tells how it has ended, by status or signal", async () => {
    const vm = await startPlain(qemu["10.0"]);
    const program = join(vm.dir, "wrapper");
    const update = (body: string) => {
      writeFileSync(program, `#!/bin/sh\ncase "$*" in *-incoming*) ${body};; esac\nexec "${qemu["11.1"]}" "$@"\n`, {
        mode: 0o755,
      });
      return updateVm({ qmp: vm.qmp }, { stateDir: vm.stateDir, qemu: program });
    };
    await expect(update("echo no such luck >&2; exit 3")).rejects.toThrow(
      /the new QEMU ended with status 3: no such luck; its log is \S+\.log/,
    );
    await expect(update("kill -SEGV $$")).rejects.toThrow(/the new QEMU was ended by SIGSEGV and said nothing/);
    expect(await runStates(vm)).toEqual(new Map([[vm.pid, "running"]]));
    // Once each, and nothing of what is not QEMU's own.
    const warns = 'for i in 1 2; do echo "qemu-system-x86_64: warning: take care" >&2; done; echo hello';
    expect((await update(warns)).said.filter((line) => !line.includes("host doesn't support"))).toEqual([
      "warning: take care",
    ]);
  });
});

/** Whom the kernel gives a process whose parent has ended. */
function parentOfOrphans(): number {
  const { stdout } = spawnSync("setsid", ["-f", "/bin/sh", "-c", "sleep 0.2; grep ^PPid: /proc/$$/status"], {
    encoding: "utf8",
  });
  return Number(stdout.replace(/\D/g, ""));
}
