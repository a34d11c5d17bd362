/** The end of a time range in the address, as `until`; without one it ends now. */

import { changed, go, place } from "../../kit/place";
import "./attempts.css";

export function untilOf(): Date | null {
  const text = place.value.query.get("until");
  const found = text === null ? null : new Date(text);
  return found === null || Number.isNaN(found.getTime()) ? null : found;
}

export function Until({ label }: { label: string }) {
  const now = untilOf();
  return (
    <label class="until">
      <span class="faint">{label}</span>
      <input
        type="datetime-local"
        value={now === null ? "" : local(now)}
        onChange={(event) => {
          const text = event.currentTarget.value;
          go(changed({ until: text ? new Date(text).toISOString() : null, open: null }));
        }}
      />
    </label>
  );
}

/** As the field wants it: local time, without a zone. */
function local(at: Date): string {
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
