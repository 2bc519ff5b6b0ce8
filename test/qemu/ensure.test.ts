// ensureUpdated: however often it is asked, and by how many, a VM is updated once; programs are known by what they are.
import { afterEach, expect, it } from "vitest";
import { ensureUpdated } from "../../src/qemu/ensure/ensure.ts";
import { vmStatus } from "../../src/qemu/update/status.ts";
import { cprkit } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { copyOf, counted } from "./ensure-support.ts";
import { endAll, startPlain } from "./update-support.ts";

afterEach(endAll);

describeQemu("ensureUpdated", ["10.0", "11.1"], (qemu) => {
  it("ten at once update once; the same key gets the first answer", async () => {
    const { qmp, stateDir, qemus } = await startPlain(qemu["10.0"]);
    const wanted = counted(qemu["11.1"]);
    const ask = (key?: string) => ensureUpdated({ qmp }, { qemu: wanted.program, stateDir, key });
    const answers = await Promise.all(Array.from({ length: 10 }, (_, at) => ask(`request ${at}`)));
    const results = answers.map(({ result }) => result).sort();
    expect(results).toEqual([...Array<string>(9).fill("nothing-to-do"), "updated"]);
    expect(wanted.starts()).toBe(1);
    expect(qemus()).toHaveLength(1);
    const first = answers.findIndex(({ result }) => result === "updated");
    const again = await ask(`request ${first}`);
    expect(again).toMatchObject({ result: "updated", repeated: true, report: { to: answers[first]?.report?.to } });
    expect(await ask("another")).toMatchObject({ result: "nothing-to-do", repeated: false, pid: qemus()[0] });
    expect((await vmStatus({ qmp }, { stateDir })).update?.outcome).toBe("updated");
  });

  it("a copy is the same QEMU, a build of the same version is another one; exit codes say it", async () => {
    const { qmp, stateDir, pid, qemus } = await startPlain(qemu["10.0"]);
    const run = (program: string, ...words: string[]) => {
      const { code, stdout } = cprkit([
        ...["ensure", "--qmp", qmp, "--qemu", program, "--state-dir", stateDir, "--json"],
        ...words,
      ]);
      return { code, result: JSON.parse(stdout).result };
    };
    expect(run(copyOf(qemu["10.0"], { rebuilt: false }))).toEqual({ code: 0, result: "nothing-to-do" });
    expect(qemus()).toEqual([pid]);
    expect(run(copyOf(qemu["10.0"], { rebuilt: true }))).toEqual({ code: 0, result: "updated" });
    expect(qemus()).not.toEqual([pid]);
    expect(run("/nonexistent/qemu")).toEqual({ code: 1, result: "refused" });
    const nobody = cprkit(["ensure", "--qmp", "/nonexistent/qmp", "--qemu", "/bin/true", "--wait", "0", "--json"]);
    expect({ code: nobody.code, result: JSON.parse(nobody.stdout).result }).toEqual({ code: 4, result: "try-again" });
    expect(cprkit(["ensure", "--qmp", qmp]).code).toBe(2);
  });
});
