/** Whose things a page shows: those of all apps, as the console does, or of one, as a portal does. Its entry says so before
 * anything is drawn. */

import { signal } from "@preact/signals";
import type { ComponentChildren, ComponentType } from "preact";
import { place, type Query, to } from "../kit/place";
import type { Picking } from "./picking";

/** What a page of several apps adds to what is of one. */
export interface Several {
  /** In a row of many. */
  readonly Name: ComponentType<{ app: string | null; link?: boolean }>;
  /** Where there is room. */
  readonly Title: ComponentType<{ app: string; link?: boolean }>;
  /** The filter `app` of the address. */
  readonly Filter: ComponentType;
  readonly Field: ComponentType<Picking>;
  /** Who changed a thing: a link to it, and the name of whoever did something to it first. */
  readonly History: ComponentType<{ object: string; children: ComponentChildren }>;
  readonly Actor: ComponentType<{ object: string; action: string }>;
}

export interface Page {
  /** null: all is of one app, which is `own`. */
  readonly several: Several | null;
  /** Paths of the pages of an endpoint and of a replay. */
  readonly endpoint: (app: string, endpoint: string) => string;
  readonly replay: (app: string, replay: string) => string;
  /** The endpoints, where there is one no more. */
  readonly endpoints: string;
}

let shown: Page;

export function shows(page: Page): void {
  shown = page;
}

/** The id of the app that all is of; null where it is of several. */
export const own = signal<string | null>(null);

export function several(): Several | null {
  return shown.several;
}

/** The app that is looked at: the only one, or the one of the address; null: all. */
export function appOf(): string | null {
  return own.value ?? place.value.query.get("app");
}

/** What an address says of an app: nothing where no other can be meant. */
export function ofApp(app: string | null): { app?: string } {
  return app === null || own.value !== null ? {} : { app };
}

export function endpointAt(app: string, endpoint: string, query: Query = {}): string {
  return to(shown.endpoint(app, endpoint), query);
}

export function replayAt(app: string, replay: string): string {
  return to(shown.replay(app, replay));
}

export function endpointsAt(): string {
  return to(shown.endpoints);
}
