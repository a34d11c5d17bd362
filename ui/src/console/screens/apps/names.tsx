/** What apps are called, where all that is at hand is an id: each is asked for once. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api, asked } from "../../../kit/request";

interface Named {
  readonly id: string;
  readonly uid: string | null;
  readonly name: string;
}

const names = signal<ReadonlyMap<string, string>>(new Map());
const waiting = new Set<string>();
let working = false;
let many: Promise<void> | null = null;

const MANY = 250; // that one request brings

export function nameOf(app: Named): string {
  return app.name || app.uid || app.id;
}

/** Apps that were fetched for something else are known from then on. */
export function known(apps: readonly Named[]): void {
  if (apps.every((app) => names.value.get(app.id) === nameOf(app))) return;
  names.value = new Map([...names.value, ...apps.map((app) => [app.id, nameOf(app)] as const)]);
}

async function work(): Promise<void> {
  many ??= asked(api.GET("/v1/apps", { params: { query: { limit: MANY } } })).then((page) => known(page.data));
  await many.catch(() => undefined);
  for (const id of waiting) {
    waiting.delete(id);
    if (names.value.has(id)) continue;
    try {
      known([await asked(api.GET("/v1/apps/{app}", { params: { path: { app: id } } }))]);
    } catch {
      names.value = new Map([...names.value, [id, id]]); // gone: its id is what is left of it
    }
  }
}

/** The name of an app, or its id as long as that is all there is. */
export function useAppName(id: string): string {
  const name = names.value.get(id);
  useEffect(() => {
    if (name !== undefined || !id) return;
    waiting.add(id);
    if (working) return;
    working = true;
    void work().finally(() => {
      working = false;
    });
  }, [id, name]);
  return name ?? id;
}

export function AppName({ id }: { id: string }) {
  const name = useAppName(id);
  return <span title={id}>{name}</span>;
}
