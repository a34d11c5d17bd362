/** Numbers and times, by locale. */

import { computed, signal } from "@preact/signals";
import { language, locale } from "./language";

const whole = computed(() => new Intl.NumberFormat(locale.value, { maximumFractionDigits: 0 }));
const short = computed(() => new Intl.NumberFormat(locale.value, { notation: "compact", maximumSignificantDigits: 3 }));
const percent = computed(() => new Intl.NumberFormat(locale.value, { style: "percent", maximumFractionDigits: 2 }));
const fraction = computed(() => new Intl.NumberFormat(locale.value, { maximumSignificantDigits: 3 }));
const moment = computed(
  () => new Intl.DateTimeFormat(locale.value, { dateStyle: "medium", timeStyle: "medium" }),
);
const today = computed(() => new Intl.DateTimeFormat(locale.value, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }));
const day = computed(() => new Intl.DateTimeFormat(locale.value, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }));
const relative = computed(() => new Intl.RelativeTimeFormat(locale.value, { numeric: "auto", style: "short" }));

export const count = (n: number | bigint): string => whole.value.format(n);
export const compact = (n: number): string => short.value.format(n);
export const share = (n: number): string => percent.value.format(n);
export const decimal = (n: number): string => fraction.value.format(n);

export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  let value = n;
  while (value >= 1024 && i < units.length - 1) {
    value /= 1024;
    i += 1;
  }
  return `${i === 0 ? count(value) : fraction.value.format(value)} ${units[i]}`;
}

/** Milliseconds, in the unit that reads best. */
export function duration(ms: number): string {
  if (ms < 1000) return `${fraction.value.format(ms)} ms`;
  return seconds(ms / 1000);
}

export function seconds(s: number): string {
  const zh = language.value === "zh";
  if (s < 60) return `${fraction.value.format(s)} ${zh ? "秒" : "s"}`;
  if (s < 3600) return `${fraction.value.format(s / 60)} ${zh ? "分钟" : "min"}`;
  if (s < 86_400) return `${fraction.value.format(s / 3600)} ${zh ? "小时" : "h"}`;
  return `${fraction.value.format(s / 86_400)} ${zh ? "天" : "d"}`;
}

/** Now, by the quarter minute: what is relative to it is said anew. */
export const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 15_000);

/** How long ago, or how soon. */
export function ago(at: string | number | Date): string {
  const s = (new Date(at).getTime() - Math.max(now.value, Date.now() - 15_000)) / 1000;
  const size = Math.abs(s);
  if (size < 60) return relative.value.format(Math.round(s), "second");
  if (size < 3600) return relative.value.format(Math.round(s / 60), "minute");
  if (size < 86_400) return relative.value.format(Math.round(s / 3600), "hour");
  return relative.value.format(Math.round(s / 86_400), "day");
}

/** The time of day where it is today's, else with the date. */
export function clock(at: string | number | Date): string {
  const then = new Date(at);
  return (then.toDateString() === new Date().toDateString() ? today : day).value.format(then);
}

/** A moment; its full date and its ISO text are in the tooltip. `relative`: as "3 minutes ago". */
export function Time({ at, relative = false }: { at: string | null | undefined; relative?: boolean }) {
  if (at === null || at === undefined) return <span class="faint">—</span>;
  return (
    <time dateTime={at} title={`${moment.value.format(new Date(at))}\n${at}`}>
      {relative ? ago(at) : clock(at)}
    </time>
  );
}

/** What a field of type `datetime-local` holds, a moment of the machine's own time zone, as the API takes it; null where it is none. */
export function instant(text: string): string | null {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}
