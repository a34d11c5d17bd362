/** Fields that name an endpoint or an event type, with those that there are to choose from. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { useAsked } from "../kit/asking";
import { TextField } from "../kit/fields";
import { api, asked } from "../kit/request";

export const SHOWN = 100;
const PAUSE_MS = 250;

export interface Picking {
  readonly name: string;
  readonly label: ComponentChildren;
  readonly value: string;
  readonly set: (value: string) => void;
  readonly hint?: ComponentChildren;
  readonly required?: boolean;
  readonly placeholder?: string;
}

/** A text once nobody has typed for a moment. */
export function useSettled(text: string): string {
  const [settled, settle] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => settle(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}

/** An id or a uid of an endpoint of this app. */
export function EndpointField({ app, ...props }: Picking & { app: string }) {
  const typed = useSettled(props.value.trim());
  const owner = useSettled(app.trim());
  const found = useAsked(
    async (signal) =>
      owner
        ? asked(api.GET("/v1/apps/{app}/endpoints", { params: { path: { app: owner }, query: { limit: SHOWN, ...(typed ? { search: typed } : {}) } }, signal }))
        : { data: [] },
    [owner, typed],
  );
  return <Picked {...props} choices={(found.data?.data ?? []).map((one) => [one.uid ?? one.id, one.url ?? ""] as const)} />;
}

/** A name of an event type. */
export function TypeField(props: Picking) {
  const typed = useSettled(props.value.trim());
  const found = useAsked(
    (signal) => asked(api.GET("/v1/event-types", { params: { query: { limit: SHOWN, ...(typed ? { search: typed } : {}) } }, signal })),
    [typed],
  );
  return <Picked {...props} choices={(found.data?.data ?? []).map((one) => [one.name, one.description] as const)} />;
}

/** A text field that proposes; anything else may be typed all the same. */
export function Picked({ choices, ...props }: Picking & { choices: readonly (readonly [value: string, told: string])[] }) {
  const list = useId();
  return (
    <div>
      <TextField {...props} list={list} />
      <datalist id={list}>
        {choices.map(([value, told]) => (
          <option key={value} value={value}>
            {told}
          </option>
        ))}
      </datalist>
    </div>
  );
}
