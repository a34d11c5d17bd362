/** Filters that name an app and one of its endpoints. */

import { useAsked } from "../../../kit/asking";
import { changed, go, place } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { ChoiceFilter, TextFilter } from "../../../kit/small";
import { shortUrl } from "../../names";
import { texts } from "./texts";

const CHOICES_MAX = 250;

/** The filters `app` and `endpoint`. A few hundred are chosen from; of more, the id or uid is typed. */
export function AppFilters({ endpoints = true }: { endpoints?: boolean }) {
  const app = place.value.query.get("app");
  return (
    <>
      <AppFilter />
      {endpoints && app !== null && <EndpointFilter key={app} app={app} />}
    </>
  );
}

function AppFilter() {
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

function EndpointFilter({ app }: { app: string }) {
  const all = useAsked(
    () => asked(api.GET("/v1/apps/{app}/endpoints", { params: { path: { app }, query: { limit: CHOICES_MAX } } })),
    [app],
  );
  if (all.data === null || all.data.next !== null) return <TextFilter name="endpoint" label={texts.value.endpointTyped} />;
  return (
    <ChoiceFilter
      name="endpoint"
      label={texts.value.endpoint}
      choices={all.data.data.map((one) => [one.id, one.uid ?? shortUrl(one.url)] as const)}
    />
  );
}
