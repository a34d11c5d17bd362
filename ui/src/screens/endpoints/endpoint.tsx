/** An endpoint as many screens show it: where it leads, and the state that it is in. */

import type { components } from "../../api/schema";
import { Badge, type Tone } from "../../kit/small";
import { texts } from "./texts";

export type Endpoint = components["schemas"]["EndpointAnswer"];

export type Condition = "disabled" | "unverified" | "paused" | "circuit_open" | "half_open" | "held" | "failing" | "enabled";

const TONES: Record<Condition, Tone> = {
  disabled: "bad",
  unverified: "warn",
  paused: "calm",
  circuit_open: "bad",
  half_open: "warn",
  held: "warn",
  failing: "warn",
  enabled: "good",
};

/** What is most in the way of its events. */
export function conditionOf(endpoint: Endpoint): Condition {
  if (!endpoint.enabled) return "disabled";
  if (endpoint.verification !== null && endpoint.verification.state !== "verified") return "unverified";
  if (endpoint.paused) return "paused";
  if (endpoint.circuit.state === "open") return "circuit_open";
  if (endpoint.circuit.state === "half_open") return "half_open";
  if (endpoint.held_until !== null && Date.parse(endpoint.held_until) > Date.now()) return "held";
  if (endpoint.failing_since !== null) return "failing";
  return "enabled";
}

export function disabledReason(endpoint: Endpoint): string | null {
  if (endpoint.disabled_reason === null) return null;
  const known: Readonly<Record<string, string>> = texts.value.disabledReasons;
  return known[endpoint.disabled_reason] ?? endpoint.disabled_reason;
}

export function State({ of }: { of: Endpoint }) {
  const condition = conditionOf(of);
  const reason = condition === "disabled" ? disabledReason(of) : null;
  return (
    <Badge tone={TONES[condition]}>
      {texts.value.conditions[condition]}
      {reason && ` · ${reason}`}
    </Badge>
  );
}
