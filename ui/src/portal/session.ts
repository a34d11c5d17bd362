/** Whose portal it is, and whether somebody has come in. The only way in is a link of the platform, which works once. */

import { signal } from "@preact/signals";
import type { components } from "../api/schema";
import { problemOf } from "../kit/asking";
import { api, asked, type Problem } from "../kit/request";
import { session, signedIn, signedOut } from "../kit/session";
import { own } from "../screens/page";

type Answer = components["schemas"]["SessionAnswer"];

export interface Whose {
  readonly app: NonNullable<Answer["app"]>;
  /** What the platform calls itself to third parties; empty where it does not say. */
  readonly platform: string;
}

export const whose = signal<Whose | null>(null);

/** Why there is no session: there was none, it has ended, or somebody has left. */
export const outside = signal<"never" | "over" | "left">("never");

/** Why it is not known whether there is one. */
export const trouble = signal<Problem | null>(null);

/** Comes in: with the code of a link, or with the cookie that is there already. */
export async function enter(code: string | null): Promise<void> {
  trouble.value = null;
  if (code !== null) session.value = null; // whoever was in before is not any more
  try {
    const { app, platform } = await asked(code === null ? api.GET("/v1/session") : api.POST("/v1/session", { body: { code } }));
    if (app === null) throw new Error("a session without an app"); // the server gives the portal none
    whose.value = { app, platform };
    own.value = app.id;
    outside.value = "over"; // from now on
    signedIn();
  } catch (error) {
    const met = problemOf(error);
    // Whoever is not known is told so by 401; so is a link that was used before, and of that there is more to say.
    if (met.status !== 401 || code !== null) trouble.value = met;
    if (met.status === 401 || code !== null) signedOut();
  }
}

export async function leave(): Promise<void> {
  outside.value = "left";
  try {
    await asked(api.DELETE("/v1/session"));
  } finally {
    signedOut();
  }
}
