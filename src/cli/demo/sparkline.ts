// Times as a line of bars.

const bars = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/** What the lowest bar stands for: the guest counts about every 10 ms. */
const lowestMs = 10;

/** A bar for each time: the lowest up to 10 ms, and one higher each time that it is half as long again; the highest from 171 ms. */
export function sparkline(times: readonly number[]): string {
  const level = (time: number) => Math.round(Math.log(Math.max(time, lowestMs) / lowestMs) / Math.log(1.5));
  return times.map((time) => bars[Math.min(level(time), bars.length - 1)]).join("");
}
