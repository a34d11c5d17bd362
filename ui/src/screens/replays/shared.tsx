import { useAsked } from "../../kit/asking";
import { count } from "../../kit/numbers";
import { api, asked } from "../../kit/request";
import { Badge, Progress, type Tone } from "../../kit/small";
import type { components } from "../../api/schema";
import { replays } from "./texts";

export type Replay = components["schemas"]["ReplayAnswer"];

const TONES: Record<Replay["state"], Tone> = { pending: "calm", running: "calm", paused: "warn", finished: "good", cancelled: "plain", failed: "bad" };

export const isLive = (of: Replay): boolean => of.state === "pending" || of.state === "running";
export const isOver = (of: Replay): boolean => of.state === "finished" || of.state === "cancelled" || of.state === "failed";

export function State({ of }: { of: Replay }) {
  return (
    <Badge tone={TONES[of.state]} {...(of.reason ? { title: reason(of.reason) } : {})}>
      {replays.value.states[of.state]}
    </Badge>
  );
}

export function reason(name: string): string {
  const known: Readonly<Record<string, string>> = replays.value.reasons;
  return known[name] ?? name;
}

/** How many it will be, as far as that is known. */
export function goal(of: Replay): number | null {
  return of.state === "finished" ? of.progress.selected : of.progress.total;
}

export function told(of: Replay): string {
  const texts = replays.value;
  const all = goal(of);
  if (all === null) return texts.sentSoFar(count(of.progress.sent));
  const known = of.state === "finished" || all === of.progress.selected;
  return (known ? texts.sentOf : texts.sentOfAbout)(count(of.progress.sent), count(all));
}

export function Bar({ of }: { of: Replay }) {
  const all = goal(of);
  // One that has not begun knows of nothing to do; one that is over moves no more.
  return <Progress label={told(of)} done={of.progress.sent} of={all ?? (isLive(of) ? null : 0)} />;
}

/** What people call an endpoint, where it is still there. */
export function EndpointName({ app, endpoint }: { app: string; endpoint: string }) {
  const found = useAsked((signal) => asked(api.GET("/v1/apps/{app}/endpoints/{endpoint}", { params: { path: { app, endpoint } }, signal })), [app, endpoint]);
  return <>{found.data?.uid ?? found.data?.url ?? endpoint}</>;
}
