/** The screens, in the order of the menu. Each is fetched when it is first gone to. */

import { both } from "../kit/language";
import type { Route } from "../screens/routing";

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

export const ROUTES: readonly Route[] = [
  { path: "/", load: () => import("./screens/overview"), menu: "overview" },
  { path: "/events", load: () => import("../screens/events"), menu: "events" },
  { path: "/events/:event", load: () => import("../screens/events/one"), menu: "events" },
  { path: "/attempts", load: () => import("../screens/attempts"), menu: "attempts" },
  { path: "/owed", load: () => import("./screens/owed"), menu: "owed" },
  { path: "/replays", load: () => import("../screens/replays"), menu: "replays" },
  { path: "/replays/:app/:replay", load: () => import("../screens/replays/one"), menu: "replays" },
  { path: "/endpoints", load: () => import("./screens/endpoints"), menu: "endpoints" },
  { path: "/apps/:app/endpoints/:endpoint", load: () => import("./screens/endpoints/one"), menu: "endpoints" },
  { path: "/apps", load: () => import("./screens/apps"), menu: "apps" },
  { path: "/apps/:app", load: () => import("./screens/apps/one"), menu: "apps" },
  { path: "/types", load: () => import("./screens/types"), menu: "types" },
  { path: "/types/:type", load: () => import("./screens/types/one"), menu: "types" },
  { path: "/triggers", load: () => import("./screens/triggers"), menu: "triggers" },
  { path: "/triggers/:trigger", load: () => import("./screens/triggers/one"), menu: "triggers" },
  { path: "/playground", load: () => import("./screens/playground"), menu: "playground" },
  { path: "/keys", load: () => import("./screens/keys"), menu: "keys" },
  { path: "/audit", load: () => import("./screens/audit"), menu: "audit" },
  { path: "/system", load: () => import("./screens/system"), menu: "system" },
];
