/** The screens, in the order of the menu. Each is fetched when it is first gone to. */

import type { ComponentType } from "preact";
import { both } from "../kit/language";

export type Params = Readonly<Record<string, string>>;
export type Screen = ComponentType<{ params: Params }>;

export interface Route {
  readonly path: string;
  readonly load: () => Promise<{ default: Screen }>;
  /** The menu entry that is lit; null: none. */
  readonly menu: MenuName | null;
}

export const menuTexts = both(
  {
    watch: "Watch",
    configure: "Configure",
    operate: "Operate",
    overview: "Overview",
    events: "Events",
    attempts: "Attempts",
    owed: "Owed",
    replays: "Replays",
    endpoints: "Endpoints",
    apps: "Apps",
    types: "Event types",
    triggers: "Triggers",
    playground: "Playground",
    keys: "Keys",
    audit: "Audit",
    system: "System",
  },
  {
    watch: "观察",
    configure: "配置",
    operate: "运维",
    overview: "总览",
    events: "事件",
    attempts: "投递尝试",
    owed: "待送",
    replays: "重放",
    endpoints: "端点",
    apps: "应用",
    types: "事件类型",
    triggers: "触发器",
    playground: "试验台",
    keys: "密钥",
    audit: "审计",
    system: "系统",
  },
);

export type MenuName = Exclude<keyof typeof menuTexts.value, "watch" | "configure" | "operate">;

/** What `g` and a letter go to. */
export const MENU: readonly { readonly group: "watch" | "configure" | "operate"; readonly entries: readonly (readonly [MenuName, string, string])[] }[] = [
  {
    group: "watch",
    entries: [
      ["overview", "/", "o"],
      ["events", "/events", "e"],
      ["attempts", "/attempts", "a"],
      ["owed", "/owed", "w"],
      ["replays", "/replays", "r"],
    ],
  },
  {
    group: "configure",
    entries: [
      ["endpoints", "/endpoints", "n"],
      ["apps", "/apps", "p"],
      ["types", "/types", "t"],
      ["triggers", "/triggers", "i"],
      ["playground", "/playground", "l"],
    ],
  },
  {
    group: "operate",
    entries: [
      ["keys", "/keys", "k"],
      ["audit", "/audit", "u"],
      ["system", "/system", "s"],
    ],
  },
];

const screens = import.meta.glob<{ default: Screen }>("./screens/*/{index,one}.tsx");

function screen(file: string): Route["load"] {
  return async () => {
    const load = screens[`${file}.tsx`];
    if (!load) throw new Error(`no screen ${file}`);
    return load();
  };
}

export const ROUTES: readonly Route[] = [
  { path: "/", load: screen("./screens/overview/index"), menu: "overview" },
  { path: "/events", load: screen("./screens/events/index"), menu: "events" },
  { path: "/events/:event", load: screen("./screens/events/one"), menu: "events" },
  { path: "/attempts", load: screen("./screens/attempts/index"), menu: "attempts" },
  { path: "/owed", load: screen("./screens/owed/index"), menu: "owed" },
  { path: "/replays", load: screen("./screens/replays/index"), menu: "replays" },
  { path: "/replays/:app/:replay", load: screen("./screens/replays/one"), menu: "replays" },
  { path: "/endpoints", load: screen("./screens/endpoints/index"), menu: "endpoints" },
  { path: "/apps/:app/endpoints/:endpoint", load: screen("./screens/endpoints/one"), menu: "endpoints" },
  { path: "/apps", load: screen("./screens/apps/index"), menu: "apps" },
  { path: "/apps/:app", load: screen("./screens/apps/one"), menu: "apps" },
  { path: "/types", load: screen("./screens/types/index"), menu: "types" },
  { path: "/types/:type", load: screen("./screens/types/one"), menu: "types" },
  { path: "/triggers", load: screen("./screens/triggers/index"), menu: "triggers" },
  { path: "/triggers/:trigger", load: screen("./screens/triggers/one"), menu: "triggers" },
  { path: "/playground", load: screen("./screens/playground/index"), menu: "playground" },
  { path: "/keys", load: screen("./screens/keys/index"), menu: "keys" },
  { path: "/audit", load: screen("./screens/audit/index"), menu: "audit" },
  { path: "/system", load: screen("./screens/system/index"), menu: "system" },
];
