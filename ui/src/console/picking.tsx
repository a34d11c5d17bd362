/** Choosing an app, with those that there are to choose from. */

import { useAsked } from "../kit/asking";
import { changed, go, place } from "../kit/place";
import { api, asked } from "../kit/request";
import { TextFilter } from "../kit/small";
import { texts } from "../screens/attempts/texts";
import { Picked, type Picking, SHOWN, useSettled } from "../screens/picking";

const CHOICES_MAX = 250;

/** An id or a uid of an app. */
export function AppField(props: Picking) {
  const typed = useSettled(props.value.trim());
  const found = useAsked(
    (signal) => asked(api.GET("/v1/apps", { params: { query: { limit: SHOWN, ...(typed ? { search: typed } : {}) } }, signal })),
    [typed],
  );
  return <Picked {...props} choices={(found.data?.data ?? []).map((one) => [one.uid ?? one.id, one.name] as const)} />;
}

/** A filter of the address. A few hundred are chosen from; of more, the id or uid is typed. */
export function AppFilter() {
  const all = useAsked(() => asked(api.GET("/v1/apps", { params: { query: { limit: CHOICES_MAX } } })), []);
  if (all.data === null || all.data.next !== null) return <TextFilter name="app" label={texts.value.appTyped} />;
  const current = place.value.query.get("app") ?? "";
  const value = all.data.data.find((one) => one.id === current || one.uid === current)?.id ?? current;
  return (
    <select
      aria-label={texts.value.app}
      value={value}
      onChange={(event) => go(changed({ app: event.currentTarget.value || null, endpoint: null, open: null }))}
    >
      <option value="">{texts.value.allApps}</option>
      {all.data.data.map((one) => (
        <option key={one.id} value={one.id}>
          {one.uid ?? (one.name || one.id)}
        </option>
      ))}
      {value !== "" && !all.data.data.some((one) => one.id === value) && <option value={value}>{value}</option>}
    </select>
  );
}
