import { bytes, count, seconds } from "../../../kit/numbers";
import { Badge, type Tone } from "../../../kit/small";
import type { components } from "../../../api/schema";
import { triggers } from "./texts";

export type Trigger = components["schemas"]["TriggerAnswer"];

const TONES: Record<Trigger["state"], Tone> = { starting: "calm", active: "good", paused: "plain", failing: "bad", stopped: "bad" };

export function State({ of }: { of: Trigger }) {
  return <Badge tone={TONES[of.state]}>{triggers.value.states[of.state]}</Badge>;
}

/** What is wrong with it, in a few words; else that it is well. */
export function Health({ of }: { of: Trigger }) {
  const texts = triggers.value;
  if (of.failure) return <span title={of.failure.detail}>{of.failure.detail}</span>;
  if (of.alarm) return <Badge tone="warn" title={of.alarm}>{of.alarm}</Badge>;
  if (of.counts.set_aside > 0) return <Badge tone="warn">{`${texts.setAside}: ${count(of.counts.set_aside)}`}</Badge>;
  return <span class="faint">{of.state === "active" ? texts.well : "—"}</span>;
}

export function lagText(of: Trigger): string {
  const { seconds: behind, pending } = of.lag;
  const parts: string[] = [];
  if (behind !== null) parts.push(behind === 0 ? "0" : seconds(behind));
  if (pending !== null && pending > 0) parts.push(count(pending));
  return parts.join(" · ") || "—";
}

export const retained = (of: Trigger): string | null => (of.lag.retained_bytes === null ? null : bytes(of.lag.retained_bytes));
export const called = (of: Trigger): string => of.name || of.uid || of.id;
export const reference = (of: Trigger): string => of.uid ?? of.id;
