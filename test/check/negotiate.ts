// Plays the driver of every virtio device on a machine's first PCI bus: accepts all features that are offered, and goes on
// to DRIVER_OK. QEMU's own test protocol reads and writes the registers, so no guest is needed.
import { connect, type Socket } from "node:net";
import { z } from "zod";
import type { Qmp } from "../../src/qemu/qmp/client.ts";

const devices = z.array(
  z.object({
    devices: z.array(
      z.object({
        id: z.object({ vendor: z.number() }),
        regions: z.array(z.object({ bar: z.number(), address: z.number(), type: z.string() })),
      }),
    ),
  }),
);

export async function negotiate(qmp: Qmp, path: string): Promise<void> {
  const [bus] = devices.parse(await qmp.execute("query-pci"));
  const qtest = await openQtest(path);
  try {
    for (const { id, regions } of bus?.devices ?? []) {
      if (id.vendor !== 0x1af4) continue;
      const modern = regions.find(({ bar, address }) => bar === 4 && address > 0);
      const legacy = regions.find(({ bar, type, address }) => bar === 0 && type === "io" && address > 0);
      if (modern !== undefined) await acceptModern(qtest, modern.address);
      else if (legacy !== undefined) await acceptLegacy(qtest, legacy.address);
    }
  } finally {
    qtest.close();
  }
}

// Virtio 1.3, 4.1.4.3: select at 0, features at 4; the driver's at 8 and 12; status at 20.
async function acceptModern(qtest: Qtest, base: number): Promise<void> {
  const status = (value: number) => qtest.ask(`writeb ${base + 20} ${value}`);
  for (const value of [0, 1, 3]) await status(value);
  for (const word of [0, 1]) {
    await qtest.ask(`writel ${base} ${word}`);
    const offered = Number(await qtest.ask(`readl ${base + 4}`));
    await qtest.ask(`writel ${base + 8} ${word}`);
    await qtest.ask(`writel ${base + 12} ${accepted(word, offered)}`);
  }
  for (const value of [11, 15]) await status(value);
}

// Virtio 1.3, 4.1.4.10: features at 0, the driver's at 4, status at 18.
async function acceptLegacy(qtest: Qtest, base: number): Promise<void> {
  const status = (value: number) => qtest.ask(`outb ${base + 18} ${value}`);
  for (const value of [0, 1, 3]) await status(value);
  const offered = Number(await qtest.ask(`inl ${base}`));
  await qtest.ask(`outl ${base + 4} ${accepted(0, offered)}`);
  await status(7);
}

/** All but bit 30, by which a driver says that it negotiates wrongly, and bit 33, which needs an IOMMU. */
function accepted(word: number, offered: number): number {
  return (word === 0 ? offered & ~0x4000_0000 : offered & ~2) >>> 0;
}

interface Qtest {
  ask(line: string): Promise<string>;
  close(): void;
}

async function openQtest(path: string): Promise<Qtest> {
  const socket: Socket = connect(path);
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  let text = "";
  let wake = () => {};
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    wake();
  });
  return {
    close: () => socket.destroy(),
    async ask(line) {
      socket.write(`${line}\n`);
      while (!text.includes("\n")) await new Promise<void>((resolve) => (wake = resolve));
      const end = text.indexOf("\n");
      const answer = text.slice(0, end);
      text = text.slice(end + 1);
      if (!answer.startsWith("OK")) throw new Error(`${line}: ${answer}`);
      return answer.slice(3);
    },
  };
}
