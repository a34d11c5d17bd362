/** Light, dark, or as the system has it. */

import { effect, signal } from "@preact/signals";
import { kept } from "./kept";

export type Theme = "system" | "light" | "dark";

const stored = kept("theme");
const before = stored.read();

export const theme = signal<Theme>(before === "light" || before === "dark" ? before : "system");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const system = signal(systemDark.matches);
systemDark.addEventListener("change", (change) => {
  system.value = change.matches;
});

/** What is shown. */
export function isDark(): boolean {
  return theme.value === "system" ? system.value : theme.value === "dark";
}

effect(() => {
  document.documentElement.dataset["theme"] = isDark() ? "dark" : "light";
});

export function wear(chosen: Theme): void {
  stored.write(chosen === "system" ? null : chosen);
  theme.value = chosen;
}
