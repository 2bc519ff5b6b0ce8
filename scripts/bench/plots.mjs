// Draws bench/results/bench.json as SVG beside it, for the README and docs/performance.md.
//
//   node scripts/bench/plots.mjs [FOLDER]
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BarChart, LineChart, ScatterChart } from "echarts/charts";
import { GridComponent, LegendComponent, MarkLineComponent, TitleComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

echarts.use([
  BarChart,
  LineChart,
  ScatterChart,
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  TitleComponent,
  SVGRenderer,
]);

const ink = "#222222";
const folder = resolve(process.argv[2] ?? fileURLToPath(new URL("../../bench/results", import.meta.url)));
const { machine, rows } = JSON.parse(readFileSync(join(folder, "bench.json"), "utf8"));
const where = `${machine.cpu}, Node ${machine.node}`;

const points = (id, pick) =>
  rows.filter((row) => row.id === id && pick(row)).map((row) => [row.n, pick(row).min * row.n]);
const own = (row) => row.ours;
const peer = (row) => row.peers[0];

draw("look-up.svg", 800, 520, {
  title: title("Time for N look-ups among N fds", `shortest of all rounds, random order; ${where}`),
  legend: { bottom: 8, itemGap: 34, textStyle: { fontSize: 12, color: ink } },
  xAxis: logarithmic("fds (N)", compact, "middle", 30),
  yAxis: logarithmic("time for all N look-ups", duration, "middle", 62),
  grid: { left: 92, right: 30, top: 78, bottom: 92 },
  series: [
    line("linked list, JavaScript", points("list", own), "#d1495b", "circle", "dashed"),
    line("linked list, C (QEMU to 11.0)", points("list", peer), "#9c2a3a", "rect"),
    line("GHashTable, C (RFC, QEMU 11.1)", points("find", peer), "#3d5a80", "triangle"),
    line("cprkit", points("find", own), "#1b998b", "diamond", "solid", 3),
  ].filter(({ data }) => data.length > 0),
});

const compared = rows.flatMap((row) =>
  row.ratios.filter(({ aim }) => aim !== undefined && aim !== null).map((ratio) => ({ row, ratio })),
);
if (compared.length > 0) {
  const label = ({ row, ratio }) =>
    `${row.what}, ${row.n.toLocaleString("en-US")}${row.ratios.length > 1 ? ` : ${ratio.to}` : ""}`;
  const ordered = [...compared].reverse();
  draw("ratios.svg", 940, 110 + ordered.length * 21, {
    title: title("cprkit : C, and what was aimed at", `below 1 cprkit is faster or smaller; ${where}`),
    legend: { bottom: 8, itemGap: 34, textStyle: { fontSize: 12, color: ink }, data: ["cprkit : C", "aim"] },
    xAxis: { ...logarithmic("ratio", String, "middle", 26), type: "value", min: 0 },
    yAxis: {
      type: "category",
      data: ordered.map(label),
      axisLabel: { color: ink, fontSize: 11, width: 400, overflow: "break" },
      axisTick: { show: false },
    },
    grid: { left: 420, right: 50, top: 66, bottom: 76 },
    series: [
      {
        name: "cprkit : C",
        type: "bar",
        data: ordered.map(({ ratio }) => ({
          value: ratio.min,
          itemStyle: { color: ratio.min <= ratio.aim ? "#1b998b" : "#d1495b" },
          label: { show: true, position: "right", formatter: ratio.min.toFixed(2), color: ink, fontSize: 11 },
        })),
        itemStyle: { color: "#1b998b" },
        barWidth: 11,
      },
      {
        name: "aim",
        type: "scatter",
        symbol: "rect",
        symbolSize: [3, 17],
        itemStyle: { color: ink },
        data: ordered.map(({ ratio }, at) => [ratio.aim, at]),
      },
    ],
  });
}

/** Dark on a white ground of its own: readable on a light page and on a dark one. */
function draw(name, width, height, option) {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({ animation: false, backgroundColor: "#ffffff", textStyle: { fontFamily: "sans-serif" }, ...option });
  writeFileSync(join(folder, name), chart.renderToSVGString());
  chart.dispose();
}

function title(text, subtext) {
  return {
    text,
    subtext,
    left: "center",
    textStyle: { fontSize: 17, color: ink },
    subtextStyle: { fontSize: 12, color: "#555555" },
  };
}

function logarithmic(name, formatter, nameLocation, nameGap) {
  return {
    type: "log",
    name,
    nameLocation,
    nameGap,
    nameTextStyle: { fontSize: 13, color: ink },
    axisLabel: { formatter, color: ink, fontSize: 12 },
    axisLine: { show: true, lineStyle: { color: "#888888" } },
    splitLine: { show: true, lineStyle: { color: "#dddddd" } },
    minorSplitLine: { show: false },
  };
}

function line(name, data, color, symbol, type = "solid", width = 2) {
  return { name, type: "line", data, symbol, symbolSize: 9, itemStyle: { color }, lineStyle: { color, type, width } };
}

function compact(value) {
  return value >= 1e6 ? `${value / 1e6} M` : value >= 1000 ? `${value / 1000} k` : String(value);
}

function duration(ns) {
  if (ns >= 1e9) return `${ns / 1e9} s`;
  if (ns >= 1e6) return `${ns / 1e6} ms`;
  if (ns >= 1e3) return `${ns / 1e3} µs`;
  return `${ns} ns`;
}
