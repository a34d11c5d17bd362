/** Sending a delivery again, and telling what came of it. */

import { problemOf } from "../../kit/asking";
import { say } from "../../kit/overlay";
import { api, asked } from "../../kit/request";
import { texts } from "./texts";

export interface Owing {
  readonly app: string;
  readonly event: string;
  readonly endpoint: string;
}

export function resend({ app, event, endpoint }: Owing, signal?: AbortSignal) {
  return asked(
    api.POST("/v1/apps/{app}/deliveries/resend", { params: { path: { app } }, body: { event, endpoint }, ...(signal ? { signal } : {}) }),
  );
}

export function cancel({ app, event, endpoint }: Owing, signal?: AbortSignal) {
  return asked(
    api.POST("/v1/apps/{app}/deliveries/cancel", { params: { path: { app } }, body: { event, endpoint }, ...(signal ? { signal } : {}) }),
  );
}

/** Sends again and says so, as a key does. */
export async function resendAndSay(owing: Owing): Promise<boolean> {
  try {
    await resend(owing);
    say(texts.value.resent);
    return true;
  } catch (error) {
    say(problemOf(error).message, "bad");
    return false;
  }
}
