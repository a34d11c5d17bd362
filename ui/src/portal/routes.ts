/** The screens of the portal, in the order of its menu. Each is fetched when it is first gone to. */

import { both } from "../kit/language";
import type { Route } from "../screens/routing";

export const menuTexts = both(
  { endpoints: "Endpoints", events: "Events", attempts: "Attempts", types: "Event types", replays: "Replays" },
  { endpoints: "端点", events: "事件", attempts: "投递尝试", types: "事件类型", replays: "重放" },
);

/** What `g` and a letter go to. */
export const MENU: readonly (readonly [name: keyof typeof menuTexts.value, path: string, key: string])[] = [
  ["endpoints", "/", "n"],
  ["events", "/events", "e"],
  ["attempts", "/attempts", "a"],
  ["types", "/types", "t"],
  ["replays", "/replays", "r"],
];

export const ROUTES: readonly Route[] = [
  { path: "/", load: () => import("./screens/endpoints"), menu: "endpoints" },
  { path: "/add", load: () => import("./screens/add"), menu: "endpoints" },
  { path: "/endpoints/:endpoint", load: () => import("./screens/endpoint"), menu: "endpoints" },
  { path: "/events", load: () => import("../screens/events"), menu: "events" },
  { path: "/events/:event", load: () => import("../screens/events/one"), menu: "events" },
  { path: "/attempts", load: () => import("../screens/attempts"), menu: "attempts" },
  { path: "/types", load: () => import("./screens/types"), menu: "types" },
  { path: "/types/:type", load: () => import("./screens/type"), menu: "types" },
  { path: "/replays", load: () => import("../screens/replays"), menu: "replays" },
  { path: "/replays/:replay", load: () => import("../screens/replays/one"), menu: "replays" },
];
