/** English and 简体中文. Each screen keeps its texts beside it, in both; that none is missing is checked by their type. */

import { computed, effect, signal } from "@preact/signals";
import { kept } from "./kept";

export type Language = "en" | "zh";

type Rows = readonly (string | readonly string[])[];
type Text = string | Rows | ((...values: never[]) => string);
type Texts = { readonly [name: string]: Text | Texts };
type OtherRows<R extends Rows> = { readonly [I in keyof R]: R[I] extends string ? string : readonly string[] };
/** The same names with the same parameters, in other words. */
type Same<T> = {
  readonly [K in keyof T]: T[K] extends (...values: infer V) => string
    ? (...values: V) => string
    : T[K] extends string
      ? string
      : T[K] extends Rows
        ? OtherRows<T[K]>
        : Same<T[K]>;
};

const stored = kept("language");

export const language = signal<Language>(
  stored.read() === "en" || stored.read() === "zh" ? (stored.read() as Language) : preferred(navigator.languages),
);

effect(() => {
  document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en";
});

export function speak(chosen: Language): void {
  stored.write(chosen);
  language.value = chosen;
}

export function preferred(languages: readonly string[]): Language {
  const known = languages.find((one) => /^(en|zh)\b/i.test(one));
  return known?.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Texts in both languages: `const texts = both({title: "Events"}, {title: "事件"})`, used as `texts.value.title`. */
export function both<const T extends Texts>(en: T, zh: Same<T>): { readonly value: Same<T> } {
  return computed(() => (language.value === "zh" ? zh : (en as unknown as Same<T>)));
}

/** The locale for dates and numbers: the browser's own where it speaks the chosen language. */
export const locale = computed(() => {
  const wanted = language.value;
  return navigator.languages.find((one) => one.toLowerCase().startsWith(wanted)) ?? (wanted === "zh" ? "zh-CN" : "en");
});
