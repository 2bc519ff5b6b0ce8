// What a guest says on its serial port, with the time at which each line arrived here, and the check that its
// counter lost and repeated nothing across any number of QEMU processes.
import { createServer, type Socket } from "node:net";

/** A number that the guest counted: its value, and when its line was complete (performance.now(), ms). */
interface Count {
  readonly value: number;
  readonly at: number;
}

export interface SerialLog {
  /** UNIX socket on which QEMU's serial port connects; several QEMU processes may, one after the other. */
  readonly path: string;
  /** All that came, in order of arrival. */
  text(): string;
  /**
   * The numbers of the complete `T <n>` lines so far.
   * @throws {Error} a garbled count, or a RAM check of the guest that failed; so do the waits for a count
   */
  counts(): Count[];
  /**
   * Waits until the guest has counted to `value` or further.
   * @throws {Error} not within `timeoutMs`; says what came last
   */
  waitForCount(value: number, timeoutMs: number): Promise<Count>;
  /**
   * Waits until `more` further numbers have come to this log, whatever they are: for a destination, that the guest
   * runs there.
   * @throws {Error} not within `timeoutMs`
   */
  waitForMore(more: number, timeoutMs: number): Promise<Count>;
  /**
   * Waits for a line that contains `text`.
   * @throws {Error} not within `timeoutMs`
   */
  waitForText(text: string, timeoutMs: number): Promise<void>;
  /** Waits until every QEMU that connected has hung up, so that nothing of what it sent is missed. */
  drained(timeoutMs: number): Promise<void>;
  /** Stops listening and hangs up. What came stays readable. */
  close(): Promise<void>;
}

interface Chunk {
  readonly text: string;
  readonly at: number;
}

const chunksOf = new WeakMap<SerialLog, Chunk[]>();

/** Listens on `path` for the serial ports of QEMU (`-chardev socket,path=…`). */
export async function createSerialLog(path: string): Promise<SerialLog> {
  const chunks: Chunk[] = [];
  const reader = countReader();
  const sockets = new Set<Socket>();
  const waiters = new Set<() => void>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setEncoding("latin1");
    socket.on("data", (data: string) => {
      const chunk = { text: data, at: performance.now() };
      chunks.push(chunk);
      reader.push(chunk);
      for (const wake of waiters) wake();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      sockets.delete(socket);
      for (const wake of waiters) wake();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });

  const text = () => chunks.map((chunk) => chunk.text).join("");

  function until<T>(what: string, timeoutMs: number, look: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        waiters.delete(check);
      };
      const check = () => {
        try {
          const found = look();
          if (found === undefined) return;
          done();
          resolve(found);
        } catch (error) {
          done();
          reject(error);
        }
      };
      const timer = setTimeout(() => {
        done();
        const end = JSON.stringify(text().slice(-120));
        reject(new Error(`the guest did not show ${what} within ${timeoutMs} ms; its serial port ended with ${end}`));
      }, timeoutMs);
      waiters.add(check);
      check();
    });
  }

  const log: SerialLog = {
    path,
    text,
    counts: () => [...reader.counts()],
    waitForCount: (value, timeoutMs) =>
      until(`the count ${value}`, timeoutMs, () => {
        const last = reader.counts().at(-1);
        return last !== undefined && last.value >= value ? last : undefined;
      }),
    waitForMore: async (more, timeoutMs) => {
      const before = reader.counts().length;
      return until(`${more} more counts`, timeoutMs, () => reader.counts()[before + more - 1]);
    },
    waitForText: (wanted, timeoutMs) =>
      until(JSON.stringify(wanted), timeoutMs, () => (text().includes(wanted) ? true : undefined)).then(() => {}),
    drained: (timeoutMs) => until("a hang-up", timeoutMs, () => (sockets.size === 0 ? true : undefined)).then(() => {}),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  chunksOf.set(log, chunks);
  return log;
}

/**
 * The numbers that one guest counted while it ran in the processes behind these logs, source first. A line that the
 * source began and the destination ended counts as one.
 *
 * @throws {Error} a number lost, repeated or started again, a garbled count, or a RAM check of the guest that failed
 */
export function assertContiguous(...logs: SerialLog[]): { first: number; last: number; maxGapMs: number } {
  const counts = countsIn(logs.flatMap((log) => chunksOf.get(log) ?? []));
  const [first] = counts;
  const last = counts.at(-1);
  if (first === undefined || last === undefined) throw new Error("the guest counted nothing");
  let before = first;
  let maxGapMs = 0;
  for (const count of counts.slice(1)) {
    if (count.value !== before.value + 1) throw new Error(`the guest went from ${before.value} to ${count.value}`);
    maxGapMs = Math.max(maxGapMs, count.at - before.at);
    before = count;
  }
  return { first: first.value, last: last.value, maxGapMs };
}

function countsIn(chunks: readonly Chunk[]): Count[] {
  const reader = countReader();
  for (const chunk of chunks) reader.push(chunk);
  return reader.counts();
}

/** Reads the numbers as they arrive; what is wrong with a line is thrown when the numbers are asked for. */
function countReader(): { push(chunk: Chunk): void; counts(): Count[] } {
  const counts: Count[] = [];
  let line = "";
  let problem: unknown;
  return {
    push({ text, at }) {
      const parts = text.split("\n");
      const rest = parts.pop() ?? "";
      for (const part of parts) {
        try {
          readLine(line + part, at, counts);
        } catch (error) {
          problem ??= error;
        }
        line = "";
      }
      line += rest;
    },
    counts() {
      if (problem !== undefined) throw problem;
      return counts;
    },
  };
}

function readLine(line: string, at: number, counts: Count[]): void {
  if (line.startsWith("FILL BAD")) throw new Error(`the guest's own check of its RAM failed: ${line}`);
  const match = /^T (\d+)(?: [\d.]+)?\r?$/.exec(line);
  if (match) counts.push({ value: Number(match[1]), at });
  else if (/^T\b/.test(line)) throw new Error(`the guest's count is garbled: ${JSON.stringify(line)}`);
}
