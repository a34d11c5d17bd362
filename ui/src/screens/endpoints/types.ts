/** Event types to choose from. */

import { useMemo } from "preact/hooks";
import type { components } from "../../api/schema";
import { useAsked } from "../../kit/asking";
import { api, asked } from "../../kit/request";

export type EventType = components["schemas"]["EventTypeAnswer"];

const SHOWN = 250;

/** The first few hundred. */
export function useTypesAsked() {
  return useAsked((signal) => asked(api.GET("/v1/event-types", { params: { query: { limit: SHOWN } }, signal })), []);
}

const NONE: readonly EventType[] = [];

/** The same as suggestions: none where they cannot be had. */
export function useTypes(): readonly EventType[] {
  return useTypesAsked().data?.data ?? NONE;
}

/** Patterns that mean some of these: their names, and the beginnings that several share. */
export function usePatterns(types: readonly EventType[]): readonly string[] {
  return useMemo(() => {
    const beginnings = new Map<string, number>();
    for (const { name } of types) {
      const parts = name.split(".");
      for (let i = 1; i < parts.length; i += 1) {
        const beginning = `${parts.slice(0, i).join(".")}.*`;
        beginnings.set(beginning, (beginnings.get(beginning) ?? 0) + 1);
      }
    }
    return [...[...beginnings].filter(([, n]) => n > 1).map(([one]) => one), ...types.map((one) => one.name)];
  }, [types]);
}
