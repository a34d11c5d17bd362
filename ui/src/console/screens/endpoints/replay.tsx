/** Sending again what an endpoint missed: which, since when, and how many that is. */

import { useState } from "preact/hooks";
import type { components } from "../../../api/schema";
import { problemOf, useAsked } from "../../../kit/asking";
import { ChipsField } from "../../../kit/chips";
import { ChoiceField, Form, TextField } from "../../../kit/fields";
import { count } from "../../../kit/numbers";
import { Dialog } from "../../../kit/overlay";
import { at, go, to } from "../../../kit/place";
import { api, asked, type Problem } from "../../../kit/request";
import { ProblemText } from "../../../kit/shown";
import { kit } from "../../../kit/texts";
import { texts } from "./texts";
import { usePatterns, useTypes } from "./types";

type Count = components["schemas"]["ReplayCount"];
type Replayed = components["schemas"]["ReplayAnswer"];
type Select = components["schemas"]["ReplayCreate"]["select"];
type Span = "3600" | "86400" | "604800" | "2592000" | "custom";

export function Replay({ app, endpoint, close }: { app: string; endpoint: string; close: () => void }) {
  const said = texts.value;
  const patterns = usePatterns(useTypes());
  const [opened] = useState(() => Date.now());
  const [select, setSelect] = useState<Select>("failed");
  const [span, setSpan] = useState<Span>("86400");
  const [from, setFrom] = useState("");
  const [until, setUntil] = useState("");
  const [types, setTypes] = useState<string[]>([]);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  const since = span === "custom" ? moment(from) : new Date(opened - Number(span) * 1000).toISOString();
  const body = since && { endpoint, select, since, ...(span === "custom" && until && { until: moment(until) }), ...(types.length > 0 && { types }) };
  const counted = useAsked<Count | null>(
    async (signal) => {
      if (!body) return null;
      const answer = await asked(api.POST("/v1/apps/{app}/replays", { params: { path: { app }, query: { dry_run: true } }, body, signal }));
      return "dry_run" in answer ? answer : null;
    },
    [body],
  );

  const start = async () => {
    if (!body) return;
    setBusy(true);
    setProblem(null);
    try {
      const made = (await asked(api.POST("/v1/apps/{app}/replays", { params: { path: { app } }, body }))) as Replayed;
      go(to(at`/replays/${app}/${made.id}`));
    } catch (error) {
      setProblem(problemOf(error));
      setBusy(false);
    }
  };

  return (
    <Dialog title={said.replayTitle} close={close}>
      <Form problem={problem ?? counted.problem} submit={() => void start()}>
        <ChoiceField
          name="select"
          label={said.select}
          value={select}
          set={setSelect}
          choices={[
            ["failed", said.selects.failed],
            ["missing", said.selects.missing],
            ["all", said.selects.all],
          ]}
          hint={said.selectHints[select]}
        />
        <ChoiceField
          name="span"
          label={said.span}
          value={span}
          set={setSpan}
          choices={(["3600", "86400", "604800", "2592000", "custom"] as const).map((one) => [one, said.spans[one]] as const)}
        />
        {span === "custom" && (
          <div class="fields">
            <TextField name="since" label={said.from} type="datetime-local" value={from} set={setFrom} required />
            <TextField name="until" label={said.until} type="datetime-local" value={until} set={setUntil} />
          </div>
        )}
        <ChipsField name="types" label={said.types} value={types} set={setTypes} suggestions={patterns} />
        <p role="status">
          {counted.state === "loading" ? (
            <span class="faint">{said.counting}</span>
          ) : counted.data ? (
            <strong>
              {counted.data.selected === 0
                ? said.countedNone
                : (counted.data.exact ? said.counted : said.countedAtLeast)(count(counted.data.selected))}
            </strong>
          ) : null}
        </p>
        {(problem ?? counted.problem) && (
          <div class="notice bad" role="alert">
            <ProblemText problem={(problem ?? counted.problem) as Problem} />
          </div>
        )}
        <footer>
          <button type="button" onClick={close}>
            {kit.value.cancel}
          </button>
          <button type="submit" class="primary" disabled={busy || !body || counted.data?.selected === 0} aria-busy={busy}>
            {said.startReplay}
          </button>
        </footer>
      </Form>
    </Dialog>
  );
}

/** A time of the browser's own zone, as the API takes it; null where there is none yet. */
function moment(local: string): string | null {
  const at = new Date(local);
  return local === "" || Number.isNaN(at.getTime()) ? null : at.toISOString();
}
