/** What a page is made of: screens, each of which is fetched when it is first gone to. */

import type { ComponentType } from "preact";

export type Params = Readonly<Record<string, string>>;
export type Screen = ComponentType<{ params: Params }>;

export interface Route {
  readonly path: string;
  readonly load: () => Promise<{ default: Screen }>;
  /** The name of the menu entry that is lit; null: none. */
  readonly menu: string | null;
}

export interface MenuGroup {
  readonly title: string | null;
  readonly entries: readonly MenuEntry[];
}

export interface MenuEntry {
  readonly name: string;
  readonly title: string;
  readonly path: string;
  /** What follows a `g` to go there. */
  readonly key: string;
}
