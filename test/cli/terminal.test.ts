// No character that a terminal obeys, that reorders a line or that nobody sees gets out of the command line when it came
// from outside: Unicode's Cc, Cf, Cs, Zl and Zp, every one of them, in every place where a stranger can put a name.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { CprState, saveCprState } from "../../src/cpr/index.ts";
import { harmless, harmlessLines, jsonLine, printable } from "../../src/vmstate/shown/text.ts";
import { be32, bytes, configuration, device, end, entry, header, vmdesc } from "../migration/build.ts";
import { cprkit, repoRoot } from "../support/cli.ts";

const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
const characters = Array.from({ length: 0x110000 }, (_, code) => String.fromCodePoint(code)).filter((char) =>
  unsafe.test(char),
);

/** What a name can't hold as bytes: UTF-8 has no surrogates, but cprkit's text has those for bytes that are not UTF-8. */
const isText = (char: string) => !/[\ud800-\udc7f\udd00-\udfff]/u.test(char);

const folder = mkdtempSync(join(tmpdir(), "cprkit-terminal-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Names that together hold each of `chars`, each before the word INJECTED: a new line would begin with it. */
function namesOf(chars: readonly string[], perName: number): string[] {
  const names: string[] = [];
  for (let at = 0; at < chars.length; at += perName) {
    names.push(
      `n${at}${chars
        .slice(at, at + perName)
        .map((char) => `${char}INJECTED`)
        .join("")}`,
    );
  }
  return names;
}

/** Text with nothing unsafe but the line feeds that cprkit writes. */
function isSafe(text: string, { json = false } = {}): void {
  const found = [...text].filter((char) => char !== "\n" && unsafe.test(char));
  expect(found.map((char) => char.codePointAt(0)?.toString(16))).toEqual([]);
  expect(text.split("\n").filter((line) => line.startsWith("INJECTED"))).toEqual([]);
  if (json) for (const line of text.trimEnd().split("\n")) JSON.parse(line);
}

/** Both streams are safe, and what was shown has the names in it. */
function isShown({ stdout, stderr }: { readonly stdout: string; readonly stderr: string }, json = false): string {
  isSafe(stdout, { json: json && stdout !== "" });
  isSafe(stderr, { json: json && stderr !== "" });
  expect(`${stdout}${stderr}`).toContain("INJECTED");
  return json ? stdout || stderr : "";
}

it("there are as many such characters as Unicode has, at least", () => {
  expect(characters.length).toBeGreaterThan(2250);
  for (const char of ["\u0000", "\u001b", "\u007f", "\u009b", "\u00ad", "\u200d", "\u202e", "\u2066", "\u2028"]) {
    expect(characters).toContain(char);
  }
});

it("each is made visible in text, and escaped in JSON with its value kept", () => {
  for (const char of characters) {
    expect(unsafe.test(printable(char) + harmless(char))).toBe(false);
    expect(harmlessLines(char)).toBe(char === "\n" || char === "\t" ? char : harmless(char));
    const line = jsonLine({ [char]: char });
    expect(unsafe.test(line)).toBe(false);
    expect(JSON.parse(line)).toEqual({ [char]: char });
  }
  expect(["\x1b", "\u202e", "\u{e0001}", "\udc80"].map(printable)).toEqual([
    "\\x1b",
    "\\u202e",
    "\\u{e0001}",
    "\\udc80",
  ]);
});

describe("names of fds", () => {
  const names = namesOf(
    characters.filter((char) => isText(char) && char !== "\0"),
    100,
  );
  const path = join(folder, "fds.bin");
  const other = join(folder, "others.bin");
  const state = new CprState();
  for (const name of names) state.saveFd(name, 0, 3);
  writeFileSync(path, saveCprState(state).bytes);
  writeFileSync(other, saveCprState(new CprState()).bytes);
  // Each entry twice: a warning for each.
  const twice = join(folder, "twice.bin");
  const all = saveCprState(state).bytes;
  writeFileSync(twice, bytes(all.subarray(0, -1), all.subarray(8)));

  it.each([
    ["inspect", path],
    ["inspect", "--hex", path],
    ["inspect", twice],
    ["diff", path, other],
    ["convert", twice, "-o", join(folder, "out.bin")],
  ])("%s %s %s", (...args) => {
    isShown(cprkit(args));
  });

  it("as JSON, with their exact values", () => {
    const report = JSON.parse(isShown(cprkit(["inspect", "--json", path]), true));
    expect(report.fds.map(({ name }: { name: string }) => name)).toEqual(names.toReversed());
    isShown(cprkit(["diff", "--json", path, other]), true);
    isShown(cprkit(["inspect", "--json", twice]), true);
  });
});

describe("names of devices, fields and machines", () => {
  const path = join(folder, "vm.mig");
  const other = join(folder, "other.mig");
  const names = namesOf(characters.filter(isText), 20);
  const fields = namesOf(characters, 100).map((name) => ({ name, type: "uint8", size: 1 }));
  const machine = names.slice(0, 3).join("");
  const sections = names.map((name, id) =>
    entry(
      4,
      id,
      name,
      fields.map(() => 7),
    ),
  );
  const json = vmdesc(...names.map((name) => device(name, fields)));
  writeFileSync(path, bytes(header, 7, be32(bytes(machine).length), machine, sections, end(json)));
  writeFileSync(other, bytes(header, configuration("test"), end(vmdesc())));
  const cut = join(folder, "cut.mig");
  writeFileSync(cut, readFileSync(path).subarray(0, 6000));

  it.each([
    ["inspect", path],
    ["inspect", "--section", "*", path],
    ["inspect", "--hex", path],
    ["inspect", cut],
    ["diff", path, other],
    ["check", path, path],
    ["check", path, join(folder, "vmdesc.json")],
  ])("%s %s %s", (...args) => {
    writeFileSync(join(folder, "vmdesc.json"), JSON.stringify(vmdesc(device("x", []))));
    const result = cprkit(args);
    isSafe(result.stdout);
    isSafe(result.stderr);
    if (args.join() !== `check,${path},${path}`) expect(result.stdout + result.stderr).toContain("INJECTED");
  });

  it("as JSON, with their exact values", () => {
    const shown = JSON.parse(isShown(cprkit(["inspect", "--json", path]), true));
    expect(shown.sections.map(({ name }: { name: string }) => name)).toEqual(names);
    expect(shown.sections[0].fields.map(({ name }: { name: string }) => name)).toEqual(fields.map(({ name }) => name));
    isShown(cprkit(["diff", "--json", path, other]), true);
    isShown(cprkit(["check", "--json", path, join(folder, "vmdesc.json")]), true);
    isShown(cprkit(["inspect", "--json", cut]), true);
  });
});

describe("names of files", () => {
  // A word of a command line has no zero byte, and no surrogate; a name has 255 bytes.
  const words = namesOf(
    characters.filter((char) => !/[\p{Cs}\0]/u.test(char)),
    16,
  );

  it("in errors, as text and as JSON", () => {
    for (const word of words) {
      isShown(cprkit(["inspect", join(folder, word)]));
      isShown(cprkit(["inspect", "--json", join(folder, word)]), true);
    }
  }, 120_000);

  it("in errors of usage", () => {
    for (const args of [
      [words[0] ?? ""],
      ["inspect", words[1] ?? "", `--${words[2]}`],
      ["preflight", "--pid", words[3] ?? ""],
    ]) {
      isShown(cprkit(args));
      isShown(cprkit([...args, "--json"]), true);
    }
  });
});

describe("words of a QEMU", () => {
  const [word] = namesOf(characters, characters.length);
  const path = join(folder, "qmp.sock");

  /** Runs the command line against a monitor that answers everything with an error. */
  async function refused(args: readonly string[]) {
    const version = { qemu: { major: 10, minor: 0, micro: 2 }, package: word };
    const server = createServer((client) => {
      const say = (message: object) => client.write(`${JSON.stringify(message)}\r\n`);
      say({ QMP: { version, capabilities: [] } });
      client.on("error", () => {});
      client.on("data", (data) => {
        for (const line of data
          .toString()
          .split("\n")
          .filter((text) => text.trim() !== "")) {
          const { execute, id } = JSON.parse(line);
          if (execute === "qmp_capabilities") say({ return: {}, id });
          else say({ error: { class: "GenericError", desc: word }, id });
        }
      });
    });
    server.listen(path);
    await once(server, "listening");
    const child = spawn(process.execPath, ["bin/cprkit", ...args], {
      cwd: repoRoot,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const texts = { stdout: "", stderr: "" };
    child.stdout.on("data", (data) => (texts.stdout += data));
    child.stderr.on("data", (data) => (texts.stderr += data));
    await once(child, "close");
    server.close();
    return texts;
  }

  it.each(["preflight", "update"])("%s", async (command) => {
    isShown(await refused([command, "--qmp", path]));
    isShown(await refused([command, "--qmp", path, "--json"]), true);
  });
});

it.skipIf(!existsSync("/usr/bin/script"))(
  "colours of our own reach a terminal, those of a stranger do not [needs script(1)]",
  () => {
    const program = `Promise.all(["output", "colours"].map((name) =>
    import(${JSON.stringify(join(repoRoot, "dist/cli/"))} + name + ".js"))).then(([{ print }, { colours }]) =>
    print(colours.red("own \\x1b[32mstranger") + " \\x1b[33mstranger\\n"))`;
    const command = `${process.execPath} -e '${program}'`;
    // script(1) is a terminal.
    const { stdout } = spawnSync("/usr/bin/script", ["-qec", command, "/dev/null"], {
      encoding: "utf8",
      env: { ...process.env, TERM: "xterm", CI: undefined, NO_COLOR: undefined },
    });
    expect(stdout.trimEnd()).toBe("\x1b[31mown \\x1b[32mstranger\x1b[39m \\x1b[33mstranger");
  },
);

it("nothing but output.ts writes to standard output or standard error", () => {
  const sources = join(repoRoot, "src");
  const files = readdirSync(sources, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  const writers = files.filter((file) =>
    /process\.std(out|err)\.write|process\[.*\]\.write|console\.[a-z]+\(/.test(
      readFileSync(join(sources, file), "utf8"),
    ),
  );
  expect(writers).toEqual(["cli/output.ts"]);
});
