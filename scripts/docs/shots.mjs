// `npm run shots`: the pictures of the inspector's page in docs/images, from a real VM and from recorded streams. Needs what
// `npm run qemu` fetches.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
const cache = resolve(process.env.CPRKIT_CACHE || join(root, ".cache"));
const images = join(root, "docs/images");
const fixture = (name) => join(root, "test/fixtures", name);
const qemu = (version) => join(cache, `qemu/${version}/qemu-system-x86_64`);

const folder = mkdtempSync(join(tmpdir(), "cprkit-shots-"));
const children = [];
try {
  mkdirSync(images, { recursive: true });
  const qmp = join(folder, "qmp.sock");
  const saved = join(folder, "vm1.mig");
  await startVm(qmp);
  const browser = await chromium.launch({
    executablePath: process.env.CPRKIT_CHROMIUM ?? join(cache, "chromium/chromium-headless-shell"),
    chromiumSandbox: false,
    args: ["--disable-gpu", "--disable-dev-shm-usage"],
  });
  const shot = async (name, words, prepare, colorScheme = "light") => {
    const url = await serve(...words);
    const page = await browser.newPage({ viewport: { width: 1280, height: 760 }, colorScheme });
    await page.goto(url);
    await prepare(page);
    await withoutOwnFolders(page);
    await page.screenshot({ path: join(images, `web-${name}.png`) });
    await page.close();
    process.stderr.write(`docs/images/web-${name}.png\n`);
  };
  const tab = (name) => (page) => page.getByRole("tab", { name }).click();
  await shot("vm", ["--qmp", qmp, "--qemu", qemu("11.1")], (page) =>
    page.getByRole("heading", { name: "The machine" }).waitFor(),
  );
  await migrate(qmp, saved);
  await shot("overview", [saved], (page) => page.getByText("Sections to scale").waitFor());
  await shot("devices", [saved], async (page) => {
    await tab("Devices")(page);
    await page.getByRole("searchbox").fill("base_rtc");
    await page.locator("#tree [role=treeitem]", { hasText: "base_rtc" }).click();
    await page.locator("#device-bytes .marked").first().waitFor();
  });
  await shot(
    "bytes",
    [saved],
    async (page) => {
      await tab("Devices")(page);
      await page.getByRole("searchbox").fill("last_update");
      await page.locator("#tree [role=treeitem]", { hasText: "last_update" }).first().click();
      await tab("Bytes")(page);
      await page.locator("#bytes .marked").first().waitFor();
    },
    "dark",
  );
  await shot("ram", [saved], async (page) => {
    await tab("RAM")(page);
    await page.locator("#page-bytes [role=row]").first().waitFor();
    // The map is drawn when its numbers have come.
    await sleep(500);
  });
  await shot("cpr", [fixture("vfio/vfio-group-4dev-msix144-kvm-11.1.bin")], async (page) => {
    await page.locator("#fds [role=row]").nth(3).click();
  });
  const pair = ["nvme", "firmware"].map((kind) =>
    fixture(`migration/cpr-main-pc-${kind === "nvme" ? "linux-" : ""}${kind}-11.1.mig`),
  );
  await shot("compare", pair, async (page) => {
    await page.locator("summary").nth(1).click();
  });
  await browser.close();
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}

/** Where this machine keeps its QEMUs is nobody's concern: shown as they would be installed. */
async function withoutOwnFolders(page) {
  await page.evaluate(
    ([own, temporary]) => {
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
        node.data = node.data.replaceAll(`${own}/`, "/opt/").replaceAll(temporary, "/run/vm1");
      }
    },
    [cache, folder],
  );
}

/** A small VM that runs its firmware. */
async function startVm(socket) {
  const words = [
    "-machine",
    "pc-q35-10.0,accel=tcg,memory-backend=ram0,aux-ram-share=on",
    "-m",
    "64",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
  ];
  const devices = ["-object", "memory-backend-memfd,id=ram0,size=64M,share=on"];
  const more = ["-device", "virtio-net-pci", "-device", "virtio-rng-pci", "-vga", "std"];
  const monitor = ["-qmp", `unix:${socket},server=on,wait=off`];
  const program = qemu("10.0");
  if (!existsSync(program)) throw new Error("QEMU 10.0 is missing: run `npm run qemu`");
  children.push(spawn(program, [...words, ...devices, ...more, ...monitor], { stdio: "ignore" }));
  while (!existsSync(socket)) await sleep(50);
  await sleep(3000);
}

/** Saves the VM to a file. */
async function migrate(socket, file) {
  const connection = connect(socket);
  const lines = createInterface(connection)[Symbol.asyncIterator]();
  const ask = async (execute, args) => {
    connection.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    for (;;) {
      const answer = JSON.parse((await lines.next()).value);
      if (answer.error !== undefined) throw new Error(answer.error.desc);
      if (answer.return !== undefined) return answer.return;
    }
  };
  await lines.next();
  await ask("qmp_capabilities");
  await ask("migrate", { uri: `file:${file}` });
  while ((await ask("query-migrate")).status !== "completed") await sleep(100);
  connection.destroy();
}

/** The page's address. */
async function serve(...words) {
  const child = spawn(process.execPath, ["bin/cprkit", "web", ...words, "--no-browser", "--json"], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const line = await new Promise((done) => createInterface(child.stdout).once("line", done));
  return JSON.parse(line).url;
}
