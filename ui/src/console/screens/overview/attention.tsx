/** What needs somebody: each with what happened, since when, and a way there. */

import type { components } from "../../../api/schema";
import { useAsked } from "../../../kit/asking";
import { count, Time } from "../../../kit/numbers";
import { at, to } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { Shown } from "../../../kit/shown";
import { Badge, type Tone } from "../../../kit/small";
import { texts } from "./texts";

type Concern = components["schemas"]["ConcernAnswer"];

const EVERY_MS = 10_000;
const SHOWN_AT_ONCE = 8;
const KIND_MAX = 50;
const TONES: Record<Concern["kind"], Tone> = {
  endpoint_disabled: "bad",
  circuit_open: "bad",
  backlog: "warn",
  endpoint_unverified: "warn",
  trigger_failing: "bad",
};

export function Attention() {
  const said = texts.value;
  const found = useAsked((signal) => asked(api.GET("/v1/attention", { signal })), [], EVERY_MS);
  return (
    <section class="panel attention">
      <h2>{said.attention}</h2>
      <Shown of={found}>
        {({ data, more }) =>
          data.length === 0 ? (
            <p class="faint">{said.calm}</p>
          ) : (
            <>
              <ul>
                {data.slice(0, SHOWN_AT_ONCE).map((one) => (
                  <Row key={`${one.kind}/${one.endpoint ?? one.trigger ?? ""}`} of={one} />
                ))}
              </ul>
              {data.length > SHOWN_AT_ONCE && (
                <details>
                  <summary>{`+ ${count(data.length - SHOWN_AT_ONCE)}`}</summary>
                  <ul>
                    {data.slice(SHOWN_AT_ONCE).map((one) => (
                      <Row key={`${one.kind}/${one.endpoint ?? one.trigger ?? ""}`} of={one} />
                    ))}
                  </ul>
                </details>
              )}
              {more.length > 0 && <p class="hint">{said.more(count(KIND_MAX))}</p>}
            </>
          )
        }
      </Shown>
    </section>
  );
}

function Row({ of }: { of: Concern }) {
  const said = texts.value;
  const link = of.endpoint !== null && of.app !== null ? at`/apps/${of.app}/endpoints/${of.endpoint}` : at`/triggers/${of.trigger ?? ""}`;
  const reasons: Record<string, string> = said.reasons;
  return (
    <li>
      <Badge tone={TONES[of.kind]}>{said.kinds[of.kind]}</Badge>
      <div>
        <a href={to(link)}>{of.name || said.triggerAt}</a> {of.app !== null && <span class="faint">{of.app_name || of.app_uid}</span>}
        {of.reason !== null && <p>{reasons[of.reason] ?? said.reasonOther(of.reason)}</p>}
        <p class="faint">
          {of.since !== null && (
            <>
              {said.since} <Time at={of.since} relative />
            </>
          )}
          {of.owed !== null && of.owed > 0 && ` · ${said.owedTo(count(of.owed))}`}
        </p>
      </div>
    </li>
  );
}
