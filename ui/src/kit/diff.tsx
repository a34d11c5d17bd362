/** Two texts, line by line: what went and what came. */

import "./schema.css";
import { kit } from "./texts";

const LINES_MAX = 2_000;
const AROUND = 3;

export interface DiffLine {
  readonly kind: "same" | "old" | "new";
  readonly text: string;
}

/** By their longest common subsequence; of very long texts only that all of it is another. */
export function diffed(before: string, after: string): DiffLine[] {
  const a = before === "" ? [] : before.split("\n");
  const b = after === "" ? [] : after.split("\n");
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const old = a.slice(head, a.length - tail);
  const young = b.slice(head, b.length - tail);
  const lines: DiffLine[] = a.slice(0, head).map((text) => ({ kind: "same", text }));
  if (old.length > LINES_MAX || young.length > LINES_MAX) {
    lines.push(...old.map((text) => ({ kind: "old", text }) as const), ...young.map((text) => ({ kind: "new", text }) as const));
  } else {
    const width = young.length + 1;
    const longest = new Uint16Array((old.length + 1) * width);
    for (let i = old.length - 1; i >= 0; i -= 1)
      for (let j = young.length - 1; j >= 0; j -= 1)
        longest[i * width + j] =
          old[i] === young[j] ? (longest[(i + 1) * width + j + 1] as number) + 1 : Math.max(longest[(i + 1) * width + j] as number, longest[i * width + j + 1] as number);
    let i = 0;
    let j = 0;
    while (i < old.length || j < young.length) {
      if (i < old.length && j < young.length && old[i] === young[j]) {
        lines.push({ kind: "same", text: old[i] as string });
        i += 1;
        j += 1;
      } else if (i < old.length && (j >= young.length || (longest[(i + 1) * width + j] as number) >= (longest[i * width + j + 1] as number))) {
        lines.push({ kind: "old", text: old[i] as string });
        i += 1;
      } else {
        lines.push({ kind: "new", text: young[j] as string });
        j += 1;
      }
    }
  }
  lines.push(...a.slice(a.length - tail).map((text) => ({ kind: "same", text }) as const));
  return lines;
}

/** What is the same far from what is not is left out. */
export function Diff({ before, after }: { before: string; after: string }) {
  const lines = diffed(before, after);
  const near = lines.map((_, i) => lines.slice(Math.max(0, i - AROUND), i + AROUND + 1).some((one) => one.kind !== "same"));
  return (
    <pre class="diff" tabIndex={0} role="region" aria-label={kit.value.text}>
      {lines.map((line, i) =>
        near[i] ? (
          <span key={i} class={line.kind}>
            {line.kind === "old" ? "− " : line.kind === "new" ? "+ " : "  "}
            {line.text}
          </span>
        ) : i === 0 || near[i - 1] ? (
          <span key={i} class="left-out">
            ⋯
          </span>
        ) : null,
      )}
    </pre>
  );
}
