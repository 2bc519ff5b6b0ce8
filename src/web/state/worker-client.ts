// Asks the worker, and hears what it tells meanwhile.

import type { Asked, Call, Calls, Problem, Told } from "../worker/protocol.ts";

/** What the worker could not do. */
class Failure extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

type Progress = Extract<Told, { kind: "progress" }>;

/** The page's worker. */
export interface WorkerClient {
  ask<K extends Call>(call: K, ask: Calls[K]["ask"]): Promise<Calls[K]["answer"]>;
}

/** Starts the worker from the text that is in the page. */
export function startWorker(onProgress: (progress: Progress) => void): WorkerClient {
  const code = document.getElementById("worker")?.textContent ?? "";
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const worker = new Worker(url);
  const waiting = new Map<number, { done(answer: unknown): void; failed(error: Failure): void }>();
  let last = 0;
  worker.onmessage = ({ data }: MessageEvent<Told>) => {
    if (data.kind === "progress") {
      onProgress(data);
      return;
    }
    const asked = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.kind === "answer") asked?.done(data.answer);
    else asked?.failed(new Failure(data.problem));
  };
  return {
    ask: (call, ask) =>
      new Promise((resolve, reject) => {
        const id = last++;
        // The answer to a question has the question's type.
        waiting.set(id, { done: resolve as (answer: unknown) => void, failed: reject });
        worker.postMessage({ id, call, ask } satisfies Asked);
      }),
  };
}
