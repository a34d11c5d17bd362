/** Filters that name an app, where there are several, and one of its endpoints. */

import { useAsked } from "../../kit/asking";
import { api, asked } from "../../kit/request";
import { ChoiceFilter, TextFilter } from "../../kit/small";
import { shortUrl } from "../names";
import { appOf, several } from "../page";
import { texts } from "./texts";

const CHOICES_MAX = 250;

/** The filters `app` and `endpoint`. A few hundred are chosen from; of more, the id or uid is typed. */
export function AppFilters({ endpoints = true }: { endpoints?: boolean }) {
  const apps = several();
  const app = appOf();
  return (
    <>
      {apps && <apps.Filter />}
      {endpoints && app !== null && <EndpointFilter key={app} app={app} />}
    </>
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
