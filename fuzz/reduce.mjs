// The inputs worth keeping: each reaches code that no shorter one does. By V8's own coverage:
// libFuzzer's merge starts itself again, which fails when node was started by another loader than the system's.

import { Session } from "node:inspector/promises";

/**
 * @param {string} url of the target's bundle
 * @param {readonly Uint8Array[]} inputs
 */
export async function reduced(url, inputs) {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  const { fuzz } = await import(url);
  const seen = new Set();
  const kept = [];
  for (const input of [...inputs].sort((a, b) => a.length - b.length)) {
    try {
      fuzz(input);
    } catch {
      // A finding that is not mended yet: kept, so that it is not forgotten.
      kept.push(input);
    }
    const before = seen.size;
    const { result } = await session.post("Profiler.takePreciseCoverage");
    for (const mark of marksOf(result.find((script) => script.url === url))) seen.add(mark);
    if (seen.size > before) kept.push(input);
  }
  session.disconnect();
  return kept;
}

/** Each block that ran. */
function marksOf({ functions } = { functions: [] }) {
  return functions.flatMap(({ ranges }) =>
    ranges.filter(({ count }) => count > 0).map(({ startOffset, endOffset }) => `${startOffset} ${endOffset}`),
  );
}
