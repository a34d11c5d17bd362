/** Lines and bars over time. */

import { useEffect, useRef, useState } from "preact/hooks";
import type uPlot from "uplot";
import { locale } from "./language";
import { compact } from "./numbers";
import { kit } from "./texts";
import { isDark } from "./theme";

/** A small line without axes: what became of it lately. `bad` is drawn over it. */
export function Spark({ values, bad, label }: { values: readonly number[]; bad?: readonly number[]; label: string }) {
  const most = Math.max(1, ...values);
  const step = 100 / Math.max(1, values.length);
  return (
    <svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label={label}>
      <title>{label}</title>
      {values.map((value, i) => {
        const height = (value / most) * 20;
        const ill = Math.min(height, ((bad?.[i] ?? 0) / most) * 20);
        return (
          <g key={i}>
            {value > 0 && <rect x={i * step} y={20 - height} width={step * 0.8} height={height} />}
            {ill > 0 && <rect class="bad" x={i * step} y={20 - ill} width={step * 0.8} height={ill} />}
          </g>
        );
      })}
    </svg>
  );
}

export interface Series {
  readonly title: string;
  /** One of the colours of the theme: the name of a custom property without its dashes. */
  readonly colour: string;
  readonly values: readonly (number | null)[];
  readonly fill?: boolean;
}

export interface ChartProps {
  readonly label: string;
  /** Seconds since 1970, ascending. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly unit?: (value: number) => string;
  readonly height?: number;
}

/** A chart; uPlot is fetched with the first. What it shows is a table for those who do not see it. */
export function Chart({ label, times, series, unit = compact, height = 160 }: ChartProps) {
  const host = useRef<HTMLDivElement>(null);
  const [Plot, setPlot] = useState<typeof uPlot | null>(null);
  useEffect(() => {
    let wanted = true;
    void import("./plot").then((module) => wanted && setPlot(() => module.default));
    return () => {
      wanted = false;
    };
  }, []);
  const dark = isDark();
  const shape = JSON.stringify([series.map((one) => [one.title, one.colour]), locale.value, dark, height]);
  const plot = useRef<uPlot | null>(null);
  const data = [times, ...series.map((one) => one.values)] as unknown as uPlot.AlignedData;
  useEffect(() => {
    const place = host.current;
    if (!Plot || !place) return;
    const style = getComputedStyle(place);
    const ink = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const axis = { stroke: ink("faint"), grid: { stroke: ink("line"), width: 1 }, ticks: { stroke: ink("line"), width: 1 }, font: `11px ${style.fontFamily}` };
    const made = new Plot(
      {
        width: place.clientWidth,
        height,
        legend: { live: true },
        cursor: { y: false },
        scales: { y: { range: (_: uPlot, __: number, most: number) => [0, most > 0 ? most * 1.1 : 1] } },
        axes: [
          { ...axis, values: (_: uPlot, at: number[]) => at.map((s, i) => tick(s, at[i - 1], (times.at(-1) ?? 0) - (times[0] ?? 0))) },
          { ...axis, size: 60, values: (_: uPlot, at: number[]) => at.map((n) => unit(n)) },
        ],
        series: [
          { label: kit.value.time, value: (_: uPlot, s: number | null) => (s === null ? "—" : new Date(s * 1000).toLocaleString(locale.value)) },
          ...series.map((one) => ({
            label: one.title,
            stroke: ink(one.colour),
            width: 1.5,
            ...(one.fill ? { fill: `color-mix(in srgb, ${ink(one.colour)} 15%, transparent)` } : {}),
            points: { show: true, size: 5, filter: (_: uPlot, at: number) => alone(series[at - 1]?.values ?? []) },
            spanGaps: false,
            value: (_: uPlot, n: number | null) => (n === null ? "—" : unit(n)),
          })),
        ],
      },
      data,
      place,
    );
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: place.clientWidth, height }));
    resized.observe(place);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [Plot, shape]);
  useEffect(() => plot.current?.setData(data), [JSON.stringify(data)]);
  return <figure class="chart" aria-label={label} ref={host} style={{ minHeight: `${height + 30}px` }} />;
}

/** Where a value has no neighbour, so that no line leads to it. */
function alone(values: readonly (number | null)[]): number[] {
  const lone = (i: number) => (values[i] ?? null) !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null;
  return values.map((_, i) => i).filter(lone);
}

function tick(s: number, before: number | undefined, span: number): string {
  const then = new Date(s * 1000);
  const time = then.toLocaleTimeString(locale.value, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const otherDay = before === undefined || new Date(before * 1000).toDateString() !== then.toDateString();
  if (span > 86_400 * 2) return then.toLocaleDateString(locale.value, { month: "short", day: "numeric" });
  return otherDay && span > 43_200 ? `${time}\n${then.toLocaleDateString(locale.value, { month: "short", day: "numeric" })}` : time;
}
