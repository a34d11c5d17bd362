/** Small things that many screens are made of. */

import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Live } from "./live";
import { say } from "./overlay";
import { changed, go, place } from "./place";
import { kit } from "./texts";

export type Tone = "good" | "bad" | "warn" | "calm" | "plain";

/** A state in a word; its tone is never all that tells. */
export function Badge({ tone = "plain", children, title }: { tone?: Tone; children: ComponentChildren; title?: string }) {
  return (
    <span class={`badge ${tone}`} title={title}>
      {children}
    </span>
  );
}

const TONES: Record<string, Tone> = { delivered: "good", failed: "warn", gave_up: "bad", owed: "warn", in_progress: "calm" };

/** What became of an attempt or a route. */
export function Outcome({ of }: { of: "delivered" | "failed" | "gave_up" | "owed" | "in_progress" }) {
  return <Badge tone={TONES[of] ?? "plain"}>{kit.value.state[of]}</Badge>;
}

/** Puts a text in the clipboard; also on plain HTTP, where browsers have no clipboard for scripts. */
export async function copy(text: string): Promise<void> {
  if (navigator.clipboard && isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      say(kit.value.copied);
      return;
    } catch {
      // No permission, or no focus: the old way may still work.
    }
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.setAttribute("readonly", "");
  area.className = "off-screen";
  const host = document.querySelector("dialog[open]") ?? document.body; // outside an open dialog nothing can be selected
  host.append(area);
  area.select();
  const did = document.execCommand("copy");
  area.remove();
  if (did) say(kit.value.copied);
  else say(kit.value.notCopied, "bad");
}

export function Copy({ text, children }: { text: string | (() => string | Promise<string>); children?: ComponentChildren }) {
  return (
    <button
      type="button"
      class="quiet copy"
      title={kit.value.copy}
      aria-label={children ? undefined : kit.value.copy}
      onClick={async () => copy(typeof text === "string" ? text : await text())}
    >
      {children ?? (
        // Drawn, for few fonts have a sign for it.
        <svg class="copy-sign" viewBox="0 0 16 16" aria-hidden="true">
          <path d="M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z" />
        </svg>
      )}
    </button>
  );
}

/** An id or another text of machines, with a way to copy it. */
export function Id({ children, short = false }: { children: string; short?: boolean }) {
  return (
    <span class="id">
      <code title={children}>{short && children.length > 14 ? `${children.slice(0, 4)}…${children.slice(-7)}` : children}</code>
      <Copy text={children} />
    </span>
  );
}

/** Names and their values. Those without a value are left out. */
export function Facts({ of }: { of: readonly (readonly [ComponentChildren, ComponentChildren] | null | false | undefined)[] }) {
  return (
    <dl class="facts">
      {of.map(
        (one, i) =>
          one &&
          one[1] !== null &&
          one[1] !== undefined && (
            <div key={i}>
              <dt>{one[0]}</dt>
              <dd>{one[1]}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

/** Whether the page is told of what happens, and a way to stop it. */
export function LiveSign({ of }: { of: Live }) {
  const texts = kit.value;
  const state = of.state.value;
  return (
    <span class={`live ${state}`} role="status">
      <i aria-hidden="true" />
      {texts.live[state]}
      <button type="button" class="quiet" onClick={() => (state === "paused" ? of.resume() : of.pause())}>
        {state === "paused" ? texts.resume : texts.pause}
      </button>
    </span>
  );
}

/** Sections of a screen; which one is seen stands in the address, as `tab`. */
export function Tabs<N extends string>({ tabs }: { tabs: readonly { name: N; title: ComponentChildren; body: () => ComponentChildren }[] }) {
  const wanted = place.value.query.get("tab");
  const chosen = tabs.find((one) => one.name === wanted) ?? tabs[0];
  return (
    <>
      <nav class="tabs">
        {tabs.map((one, i) => (
          <a key={one.name} href={changed({ tab: i === 0 ? null : one.name, open: null })} aria-current={one === chosen ? "page" : undefined}>
            {one.title}
          </a>
        ))}
      </nav>
      {chosen?.body()}
    </>
  );
}

const RANGES = { "15m": 900, "1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000 } as const;
export type Range = keyof typeof RANGES;

/** The time range of the address, as `range`. `since` is on the minute, so that asking again asks the same. */
export function rangeOf(fallback: Range = "24h"): { range: Range; seconds: number; since: () => string } {
  const wanted = place.value.query.get("range");
  const range = wanted !== null && wanted in RANGES ? (wanted as Range) : fallback;
  const seconds = RANGES[range];
  return { range, seconds, since: () => new Date(Math.floor(Date.now() / 60_000) * 60_000 - seconds * 1000).toISOString() };
}

export function RangePicker({ fallback = "24h" }: { fallback?: Range }) {
  const texts = kit.value.range;
  const { range } = rangeOf(fallback);
  return (
    <select
      aria-label={texts.label}
      value={range}
      onChange={(event) => go(changed({ range: event.currentTarget.value === fallback ? null : event.currentTarget.value }))}
    >
      {(Object.keys(RANGES) as Range[]).map((one) => (
        <option key={one} value={one}>
          {texts[one]}
        </option>
      ))}
    </select>
  );
}

/** A filter of the address: a text that takes effect on Enter, when it is left, or half a second after the last stroke. */
export function TextFilter({ name, label, type = "search", primary = false }: { name: string; label: string; type?: "search" | "text"; primary?: boolean }) {
  const current = place.value.query.get(name) ?? "";
  const [typed, setTyped] = useState<string | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const apply = (text: string) => {
    clearTimeout(timer.current);
    setTyped(null);
    if (text.trim() !== current) go(changed({ [name]: text.trim() || null, open: null }), { replace: true });
  };
  return (
    <input
      type={type as "text"}
      aria-label={label}
      placeholder={label}
      value={typed ?? current}
      data-search={primary ? "" : undefined}
      onInput={(event) => {
        const text = event.currentTarget.value;
        setTyped(text);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => apply(text), 500);
      }}
      onBlur={(event) => apply(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === "Enter") apply(event.currentTarget.value);
        if (event.key === "Escape") event.currentTarget.blur();
      }}
    />
  );
}

/** A filter of the address with a few choices; the first, without a value, is all. */
export function ChoiceFilter({ name, label, choices }: { name: string; label: string; choices: readonly (readonly [value: string, title: string])[] }) {
  return (
    <select
      aria-label={label}
      value={place.value.query.get(name) ?? ""}
      onChange={(event) => go(changed({ [name]: event.currentTarget.value || null, open: null }))}
    >
      <option value="">{`${label}: ${kit.value.all}`}</option>
      {choices.map(([value, title]) => (
        <option key={value} value={value}>
          {title}
        </option>
      ))}
    </select>
  );
}

/** A row of filters; those of `names` can be cleared at once. */
export function Filters({ names, children }: { names: readonly string[]; children: ComponentChildren }) {
  const set = names.some((one) => place.value.query.has(one));
  return (
    <div class="filters" role="search" aria-label={kit.value.filters}>
      {children}
      {set && (
        <a class="button quiet" href={changed(Object.fromEntries(names.map((one) => [one, null])))}>
          {kit.value.clear}
        </a>
      )}
    </div>
  );
}

/** How far something has come. `of` null: nobody knows how far it goes. */
export function Progress({ done, of, label }: { done: number; of: number | null; label: string }) {
  return <progress aria-label={label} value={of === null ? undefined : done} max={of === null ? undefined : Math.max(of, 1)} />;
}

/** Milliseconds of phases, one behind the other. */
export function Phases({ of }: { of: readonly { name: string; ms: number; title: string }[] }) {
  const total = of.reduce((sum, one) => sum + one.ms, 0) || 1;
  let from = 0;
  return (
    <svg class="phases" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label={of.map((one) => one.title).join(", ")}>
      {of.map((one) => {
        const x = from;
        from += one.ms;
        return (
          <rect key={one.name} class={`phase-${one.name}`} x={(x / total) * 1000} y="0" width={Math.max(2, (one.ms / total) * 1000)} height="12">
            <title>{one.title}</title>
          </rect>
        );
      })}
    </svg>
  );
}
