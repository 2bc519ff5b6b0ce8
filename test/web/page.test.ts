// The inspector's page, opened as a file: what it shows is what the command line prints, and nothing leaves it.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  diffMigrations,
  fieldToJson,
  type Migration,
  migrationToJson,
  readMigrationBytes,
  sectionLabel,
} from "../../src/migration/index.ts";
import { differencesToJson } from "../../src/migration/json.ts";
import { printable } from "../../src/vmstate/shown/text.ts";
import { qcow2 } from "../files/qcow2-image.ts";
import { listMigrationCaptures } from "../migration/captures.ts";
import { accessibilityFindings, describeBrowser } from "../support/browser.ts";
import { cprkit, repoRoot } from "../support/cli.ts";
import { listCprCaptures } from "../support/shared.ts";
import { type Inspector, isOpen, openInspector, pagePath } from "./inspector.ts";

const fixture = (name: string) => join(repoRoot, "test/fixtures", name);
const microvm = fixture("migration/cpr-main-microvm-10.0.mig");
const nvme = fixture("migration/cpr-main-pc-linux-nvme-11.1.mig");
const firmware = fixture("migration/cpr-main-pc-firmware-11.1.mig");

test("the page is one file, with at most 150 KiB of script when it is compressed", () => {
  const html = readFileSync(pagePath, "utf8");
  const scripts = [...html.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)].map(([, code = ""]) => code);
  expect(scripts.length).toBe(2);
  expect(gzipSync(scripts.join("\n"), { level: 9 }).length).toBeLessThan(150 * 1024);
  expect(html).not.toMatch(/<link|<img|\ssrc=|@import|url\(/);
  // Nothing of Node came along.
  expect(html).not.toMatch(/require\(["'`](?:node:)?(?:fs|zlib|stream|module)["'`]\)|\bprocess\.(?:env|versions)\b/);
});

describeBrowser("the inspector's page", (open) => {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-web-"));
  const file = (name: string, content: Uint8Array | string): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  let inspector: Inspector;
  beforeAll(async () => {
    inspector = await openInspector(await open());
  });
  afterAll(async () => {
    await inspector?.page.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("opens every capture; its JSON is that of the command line", async () => {
    const { page } = inspector;
    let count = 0;
    for (const { name, bytes, offset } of listMigrationCaptures()) {
      await inspector.give(file(`${name}.mig`, bytes));
      const expected = JSON.stringify(migrationToJson(readMigrationBytes(bytes, { offset })));
      const digest = createHash("sha256").update(expected).digest("hex");
      if ((await inspector.copiedDigest("Copy all as JSON")) !== digest) {
        expect([name, JSON.parse(await inspector.copied("Copy all as JSON"))]).toEqual([name, JSON.parse(expected)]);
      }
      count += 1;
    }
    for (const { name, bytes } of listCprCaptures()) {
      const path = file(`${name}.bin`, bytes);
      await inspector.give(path);
      expect(await page.getByRole("tab", { selected: true }).textContent()).toBe("CPR state");
      const sidecar = JSON.parse(readFileSync(fixture(`cpr/${name}.json`), "utf8")) as { readonly fdCount: number };
      expect(await page.getByRole("heading", { level: 2 }).textContent()).toContain(`${sidecar.fdCount} fds`);
      count += 1;
    }
    expect(count).toBeGreaterThan(20);
    expect(inspector.errors).toEqual([]);
  });

  test("every section has the fields and values that inspect --json prints", async () => {
    await inspector.give(nvme);
    const { stdout } = cprkit(["inspect", "--json", nvme]);
    const { sections } = JSON.parse(stdout) as {
      readonly sections: readonly { type: string; name: string; instance: number; fields: readonly unknown[] }[];
    };
    const full = sections.filter(({ type }) => type === "full");
    expect(full.length).toBeGreaterThan(30);
    for (const section of full) {
      const label = sectionLabel(section);
      await inspector.goTo(address(nvme, { view: "devices", section: label }));
      await inspector.page.locator(".heading h2", { hasText: label }).first().waitFor();
      expect([label, JSON.parse(await inspector.copied("JSON"))]).toEqual([label, section.fields]);
    }
  });

  test("every byte is named as inspect --hex names it, and its field is the one that is selected", async () => {
    await inspector.give(microvm);
    const { stdout } = cprkit(["inspect", "--hex", microvm]);
    const names = namesByByte(stdout);
    const bytes = readFileSync(microvm);
    await inspector.goTo(address(microvm, { view: "bytes" }));
    const shown = new Map<number, { title: string; text: string }>();
    const grid = inspector.page.locator("#bytes");
    await grid.focus();
    for (let at = 0; at < bytes.length; ) {
      const cells = (await inspector.page.evaluate(`(async () => {
        const grid = document.querySelector("#bytes");
        grid.scrollTop = ${Math.floor(at / 16)} * 22;
        for (let tries = 0; tries < 100; tries++) {
          await new Promise((done) => requestAnimationFrame(done));
          const cells = [...grid.querySelectorAll("[data-at]")];
          if (cells.some((one) => Number(one.dataset.at) === ${at}) && cells.every((one) => one.textContent !== "··"))
            return cells.map((one) => [Number(one.dataset.at), one.title, one.textContent]);
        }
        return [];
      })()`)) as [number, string, string][];
      expect(cells.length).toBeGreaterThan(16);
      for (const [place, title, text] of cells) shown.set(place, { title, text });
      at = Math.max(at + 16, ...cells.map(([place]) => place - 15));
    }
    expect(shown.size).toBe(bytes.length);
    for (const [at, byte] of bytes.entries()) {
      const { title, text } = shown.get(at) ?? { title: "", text: "" };
      const expected = names.get(at) ?? "JSON description";
      if (text !== byte.toString(16).padStart(2, "0") || title !== expected)
        expect([at, title]).toEqual([at, expected]);
    }
    expect(new Set(names.values()).size).toBeGreaterThan(200);
  });

  test("a selection in the table is one in the bytes, and the other way round", async () => {
    const { page } = inspector;
    await inspector.give(firmware);
    await inspector.goTo(address(firmware, { view: "devices", section: "mc146818rtc", field: "base_rtc" }));
    const selected = page.locator("#fields [role=row][aria-selected=true]");
    await selected.waitFor();
    const field = rtc(readMigrationBytes(readFileSync(firmware)), "base_rtc");
    expect(await selected.textContent()).toContain(`0x${field.offset.toString(16)}`);
    expect(await page.locator("#device-bytes .marked").count()).toBe(field.size);
    const other = rtc(readMigrationBytes(readFileSync(firmware)), "cmos_index");
    await page.locator(`#device-bytes-b${other.offset}`).click();
    await page.locator("#fields [aria-selected=true]", { hasText: "cmos_index" }).waitFor();
    // Copied: what is said of it.
    expect(await inspector.copied("path")).toBe("mc146818rtc: cmos_index");
    expect(await inspector.copied("offset")).toBe(`0x${other.offset.toString(16)}`);
    expect(JSON.parse(await inspector.copied("JSON"))).toEqual(JSON.parse(JSON.stringify(fieldToJson(other))));
    expect(await page.locator("#fields [aria-selected=true]").textContent()).toContain("VMSTATE_UINT8");
  });

  test("an address brings back the file's name, the section and the field", async () => {
    const { page } = inspector;
    await inspector.give(firmware);
    await inspector.goTo(address(firmware, { view: "devices", section: "mc146818rtc", field: "last_update" }));
    await page.locator("#fields [aria-selected=true]", { hasText: "last_update" }).waitFor();
    const sent = await inspector.copied("address");
    const colleague = await openInspector(await open());
    await colleague.goTo(sent);
    await colleague.page.getByText("drop that file to go there").waitFor();
    expect(await colleague.page.getByRole("status").first().textContent()).toContain("cpr-main-pc-firmware-11.1.mig");
    await colleague.give(firmware);
    await colleague.page.locator("#fields [aria-selected=true]", { hasText: "last_update" }).waitFor();
    expect(await colleague.page.locator(".heading h2").first().textContent()).toBe("mc146818rtc");
    // A page of guest RAM has one, too.
    await colleague.goTo(address(firmware, { view: "ram", block: "pc.bios", page: "5" }));
    await colleague.page.getByText("Page 5 at 0x5000").waitFor();
    expect(await colleague.page.locator("#blocks [aria-selected=true]").textContent()).toContain("pc.bios");
    expect(colleague.errors).toEqual([]);
    await colleague.page.close();
  });

  test("search finds names, paths and values as one types", async () => {
    const { page } = inspector;
    await inspector.give(firmware);
    await inspector.goTo(address(firmware, { view: "devices" }));
    const search = page.getByRole("searchbox");
    for (const [words, found] of [
      ["cmos_ind", "cmos_index"],
      ["mc146818", "mc146818rtc"],
      [String(rtc(readMigrationBytes(readFileSync(firmware)), "base_rtc").value), "base_rtc"],
    ] as const) {
      await search.fill(words);
      await page.locator("#tree [role=treeitem]", { hasText: found }).first().waitFor();
    }
    // Features and PCI's registers by their names, with what they are.
    await inspector.give(nvme);
    await inspector.goTo(address(nvme, { view: "devices" }));
    for (const [words, row] of [
      ["virtio_net_f_mac", "feature"],
      ["config/vendor_id", "register"],
      ["virtio/vq[0]/num", "256"],
    ] as const) {
      await search.fill(words);
      await page.locator("#tree [role=treeitem]", { hasText: words }).first().click();
      await page.locator("#fields [aria-selected=true]", { hasText: row }).waitFor();
    }
    await search.fill("");
  });

  test("a file that is dropped is opened, a second one is compared", async () => {
    const { page } = inspector;
    const drop = (name: string, path: string) =>
      page.evaluate(`(() => {
        const files = new DataTransfer();
        const bytes = Uint8Array.from(atob(${JSON.stringify(readFileSync(path).toString("base64"))}), (one) => one.charCodeAt(0));
        files.items.add(new File([bytes], ${JSON.stringify(name)}));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
      })()`);
    await drop("first.mig", microvm);
    await isOpen(page, ["first.mig"]);
    await page.getByRole("tab", { name: "Compare" }).click();
    await drop("second.mig", firmware);
    await page.getByRole("region", { name: "Verdict" }).waitFor();
    expect(await page.getByRole("heading", { level: 2 }).first().textContent()).toBe("first.mig and second.mig");
  });

  test("the bytes at the cursor as every kind of number", async () => {
    const { page } = inspector;
    await inspector.give(firmware);
    const at = rtc(readMigrationBytes(readFileSync(firmware)), "last_update").offset;
    await inspector.goTo(address(firmware, { view: "bytes", at: String(at) }));
    await page.locator(`#bytes-b${at}.cursor`).waitFor();
    const view = new DataView(new Uint8Array(readFileSync(firmware)).buffer, at);
    const both = (read: (little: boolean) => unknown) => [String(read(false)), String(read(true))];
    await expect
      .poll(() => page.locator("table.plain tbody tr td").allTextContents())
      .toEqual([
        ...both(() => view.getUint8(0)),
        ...both(() => view.getInt8(0)),
        ...both((little) => view.getUint16(0, little)),
        ...both((little) => view.getInt16(0, little)),
        ...both((little) => view.getUint32(0, little)),
        ...both((little) => view.getInt32(0, little)),
        ...both((little) => view.getBigUint64(0, little)),
        ...both((little) => view.getBigInt64(0, little)),
        ...both((little) => view.getFloat32(0, little)),
        ...both((little) => view.getFloat64(0, little)),
        view.getUint8(0).toString(2).padStart(8, "0"),
        "",
      ]);
  });

  test("two streams: the differences of diff --json, the verdict of check, and an explanation behind a finding", async () => {
    const { page } = inspector;
    await inspector.give(nvme, firmware);
    const [a, b] = [nvme, firmware].map((path) => readMigrationBytes(readFileSync(path))) as [Migration, Migration];
    const { stdout } = cprkit(["diff", "--json", nvme, firmware]);
    const printed = JSON.parse(stdout) as { readonly differences: unknown };
    expect(printed.differences).toEqual(JSON.parse(JSON.stringify(differencesToJson(diffMigrations(a, b)))));
    expect(JSON.parse(await inspector.copied("Copy as JSON"))).toEqual({ differences: printed.differences });
    const checked = JSON.parse(cprkit(["check", "--json", nvme, firmware]).stdout) as {
      readonly findings: readonly { severity: string; message: string }[];
    };
    const errors = checked.findings.filter(({ severity }) => severity === "error").length;
    const verdict = page.getByRole("region", { name: "Verdict" });
    expect(await verdict.locator("strong").textContent()).toContain(`${errors} error`);
    expect(await verdict.locator("summary").count()).toBe(Math.min(200, checked.findings.length));
    const summary = verdict.locator("summary", { hasText: "section-missing" }).first();
    await summary.click();
    expect(await verdict.locator("details[open] dd").first().textContent()).toContain("unknown-section");
    expect(inspector.errors).toEqual([]);
  });

  test("compressed, saved by libvirt, in a qcow2 image, behind something: as inspect takes them", async () => {
    const bytes = readFileSync(microvm);
    const digest = (offset: number) =>
      createHash("sha256")
        .update(JSON.stringify(migrationToJson(readAt(bytes, offset))))
        .digest("hex");
    const shows = async (path: string, what: RegExp, offset = 0): Promise<void> => {
      await inspector.give(path);
      expect(await inspector.page.locator("dl.facts").first().textContent()).toMatch(what);
      expect([what, await inspector.copiedDigest("Copy all as JSON")]).toEqual([what, digest(offset)]);
    };
    await shows(file("vm.mig.gz", gzipSync(bytes)), /gzip/);
    await shows(fixture("migration/cpr-main-microvm-10.0.mig.lzo"), /lzop/);
    for (const [program, ...words] of [["zstd", "-q"], ["xz"], ["lz4", "-q"], ["bzip2"]] as const) {
      const { status, stdout } = spawnSync(program, [...words, "-c"], { input: bytes, maxBuffer: 1 << 26 });
      if (status === 0) await shows(file(`vm.mig.${program}`, stdout), new RegExp(program));
      else console.warn(`skipped: ${program} is not on this machine`);
    }
    await shows(file("behind.bin", Buffer.concat([Buffer.alloc(5000), bytes])), /5,000 bytes before/, 5000);
    const xml = "<domain type='kvm'><name>shop</name></domain>\0";
    const save = Buffer.alloc(92);
    save.write("LibvirtQemudSave");
    for (const [at, value] of [2, xml.length, 1, 1].entries()) save.writeUInt32LE(value, 16 + 4 * at);
    await shows(
      file("shop.save", Buffer.concat([save, Buffer.from(xml), gzipSync(bytes)])),
      /libvirt of "shop".*; gzip/,
    );
    // An image: its snapshots, of which one is chosen.
    await inspector.give(file("disk.qcow2", qcow2(bytes)));
    await inspector.page.getByRole("button", { name: "Show its state" }).click();
    await inspector.page.getByText('the snapshot "before" of a qcow2 image').waitFor();
    expect(await inspector.copiedDigest("Copy all as JSON")).toBe(digest(0));
    expect(inspector.errors).toEqual([]);
  });

  test("a damaged stream shows what came before the damage", async () => {
    const bytes = readFileSync(firmware);
    for (const length of [bytes.length >> 1, 2000, 60]) {
      const path = file(`cut-${length}.mig`, bytes.subarray(0, length));
      await inspector.give(path);
      const expected = readMigrationBytes(bytes.subarray(0, length));
      expect(JSON.parse(await inspector.copied("Copy all as JSON"))).toEqual(
        JSON.parse(JSON.stringify(migrationToJson(expected))),
      );
      const problems = await inspector.page.getByRole("region", { name: "Problems" }).textContent();
      expect(problems).toContain(printable(expected.stopped?.message ?? "?"));
    }
    const state = readFileSync(fixture("cpr/q35-540-10.0.bin"));
    await inspector.give(file("cut.bin", state.subarray(0, state.length >> 1)));
    const half = await inspector.page.getByRole("heading", { level: 2 }).textContent();
    expect(half).toMatch(/ABI, 2\d\d fds/);
    expect(await inspector.page.locator(".heading .warn").textContent()).toContain("but only");
    // Compressed, and cut there: what could be unpacked is read.
    const packed = gzipSync(readFileSync(nvme));
    await inspector.give(file("cut.mig.gz", packed.subarray(0, packed.length >> 1)));
    expect(await inspector.page.getByRole("region", { name: "Problems" }).textContent()).toContain("ends too early");
    const shown = JSON.parse(await inspector.copied("Copy all as JSON")) as { readonly sections: readonly unknown[] };
    expect(shown.sections.length).toBeGreaterThan(0);
    await inspector.give(file("no-stream.txt", "this is no stream"));
    expect(await inspector.page.getByRole("alert").textContent()).toContain("expected a CPR state");
  });

  test("nothing was asked for but the page and its worker, and nothing can be", async () => {
    const { page } = inspector;
    expect(inspector.requests.length).toBeGreaterThan(0);
    expect(inspector.requests.filter((url) => !/^(?:file:.*\/inspect\.html(?:#.*)?|blob:null\/.*)$/.test(url))).toEqual(
      [],
    );
    const tried = `fetch("http://127.0.0.1:9/").then(() => "sent", (error) => String(error))`;
    const refused = page.waitForEvent("console", (message) => /Content Security Policy/.test(message.text()));
    expect(await page.evaluate(tried)).toContain("Failed to fetch");
    await refused;
    const [worker] = page.workers();
    expect(await worker?.evaluate(tried)).toContain("Failed to fetch");
    // Not even tried: the policy is asked first.
    expect(inspector.requests.filter((url) => url.startsWith("http"))).toEqual([]);
  });

  test("axe finds nothing in any view, dark or light", async () => {
    const { page } = inspector;
    const findings: string[] = [];
    const look = async (where: string, ...schemes: readonly ("light" | "dark")[]): Promise<void> => {
      for (const colorScheme of schemes.length === 0 ? (["light"] as const) : schemes) {
        await page.emulateMedia({ colorScheme });
        for (const one of await accessibilityFindings(page)) findings.push(`${where}, ${colorScheme}: ${one}`);
      }
    };
    await inspector.give(firmware);
    await inspector.goTo(address(firmware, { view: "devices", section: "mc146818rtc", field: "base_rtc" }));
    await page.locator("#fields [aria-selected=true]").waitFor();
    await look("devices", "light", "dark");
    for (const tab of ["Overview", "Bytes", "RAM", "Compare"]) {
      await page.getByRole("tab", { name: tab }).click();
      await look(tab, ...(tab === "RAM" ? (["dark"] as const) : []));
    }
    await inspector.give(fixture("cpr/q35-540-10.0.bin"));
    await look("CPR state");
    await inspector.give(nvme, firmware);
    await look("two streams", "dark");
    expect(findings).toEqual([]);
  });

  function address(path: string, words: Readonly<Record<string, string>>): string {
    return `#${new URLSearchParams({ file: path.slice(path.lastIndexOf("/") + 1), ...words }).toString()}`;
  }

  function rtc({ sections }: Migration, name: string) {
    const field = sections.find((one) => one.name === "mc146818rtc")?.fields.find((one) => one.name === name);
    if (field === undefined) throw new Error(`no field ${name}`);
    return field;
  }
});

/** The stream with `offset` bytes before it. */
function readAt(bytes: Uint8Array, offset: number): Migration {
  return readMigrationBytes(Buffer.concat([Buffer.alloc(offset), bytes]), { offset });
}

/** The text beside each byte of `inspect --hex`; the lines after a first one have none of their own. */
function namesByByte(text: string): Map<number, string> {
  const names = new Map<number, string>();
  let name = "";
  for (const line of text.split("\n")) {
    const folded = /^0x([\da-f]+) {2}(.*): (\d+) bytes$/.exec(line);
    if (folded !== null) {
      const [, offset = "", what = "", length = ""] = folded;
      for (let at = 0; at < Number(length); at++) {
        names.set(Number.parseInt(offset, 16) + at, `${what}: ${length} bytes`);
      }
      continue;
    }
    const [, offset = "", digits = "", rest = ""] = /^([\da-f]{8}) {2}((?:[\da-f]{2} ?)*) *(.*)$/.exec(line) ?? [];
    if (offset === "") continue;
    const shown = line.slice(10, 58).trim();
    const count = shown === "" ? 0 : shown.split(" ").length;
    const own = line.slice(59).trim();
    if (own !== "" || digits + rest === "") name = own;
    for (let at = 0; at < count; at++) names.set(Number.parseInt(offset, 16) + at, name);
  }
  return names;
}
