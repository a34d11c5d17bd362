/** Delays as people write them: "5s 5m 2h" is [5, 300, 7200]. */

const UNITS = { d: 86_400, h: 3_600, m: 60, s: 1 } as const;

/** The seconds; null where it cannot be read. A number alone is seconds. */
export function delaysOf(text: string): number[] | null {
  const found: number[] = [];
  for (const one of text.split(/[,\s]+/)) {
    if (one === "") continue;
    const match = /^(\d+(?:\.\d+)?)(s|m|h|d|秒|分|时|天)?$/i.exec(one);
    if (!match) return null;
    const unit = ({ 秒: "s", 分: "m", 时: "h", 天: "d" } as Record<string, string>)[match[2] ?? "s"] ?? (match[2] ?? "s").toLowerCase();
    found.push(Number(match[1]) * UNITS[unit as keyof typeof UNITS]);
  }
  return found;
}

export function delaysText(seconds: readonly number[]): string {
  return seconds.map(delayText).join(" ");
}

function delayText(seconds: number): string {
  for (const [unit, size] of Object.entries(UNITS)) if (seconds >= size && seconds % size === 0) return `${seconds / size}${unit}`;
  return `${seconds}s`;
}

/** The delays of an exponential, before chance moves them. */
export function exponentialDelays({ base, factor, max, attempts }: { base: number; factor: number; max: number; attempts: number }): number[] {
  return Array.from({ length: Math.max(0, Math.min(attempts, 100) - 1) }, (_, i) => Math.min(max, base * factor ** i));
}
