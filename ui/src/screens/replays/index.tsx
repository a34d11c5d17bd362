/** Replays, those under way with how far they are. */

import { usePages } from "../../kit/asking";
import { count, Time } from "../../kit/numbers";
import { changed, go, place } from "../../kit/place";
import { api, asked } from "../../kit/request";
import { Filters, TextFilter } from "../../kit/small";
import { List } from "../../kit/table";
import { appOf, replayAt, several } from "../page";
import type { Params } from "../routing";
import { CreateReplay } from "./create";
import { Bar, State, told } from "./shared";
import { replays } from "./texts";
import "./replays.css";

const EVERY_MS = 3_000;

export default function Replays(_: { params: Params }) {
  const texts = replays.value;
  const query = place.value.query;
  const apps = several();
  const app = appOf() ?? "";
  const found = usePages(
    (cursor, signal) => asked(api.GET("/v1/replays", { params: { query: { ...(cursor ? { cursor } : {}), ...(app ? { app } : {}) } }, signal })),
    [app],
    EVERY_MS,
  );
  const create = changed({ new: true });
  return (
    <div class="screen">
      <header>
        <h1>{texts.title}</h1>
        <span class="grow" />
        <a class="button primary" href={create}>
          {texts.create}
        </a>
      </header>
      {apps && (
        <Filters names={["app"]}>
          <TextFilter name="app" label={texts.app} primary />
        </Filters>
      )}
      <List
        of={found}
        label={texts.title}
        id={(row) => row.id}
        link={(row) => replayAt(row.app, row.id)}
        empty={
          apps && app ? (
            texts.nothing
          ) : (
            <>
              <p>{texts.empty}</p>
              <a class="button primary" href={create}>
                {texts.create}
              </a>
            </>
          )
        }
        columns={[
          { title: texts.startedAt, kind: "narrow", cell: (row) => <Time at={row.created_at} /> },
          { title: texts.state, kind: "narrow", cell: (row) => <State of={row} /> },
          {
            title: texts.progress,
            cell: (row) => (
              <span class="replay-progress">
                <Bar of={row} />
                <span>{told(row)}</span>
              </span>
            ),
          },
          { title: texts.selected, kind: "number", cell: (row) => count(row.progress.selected), spare: true },
          { title: texts.select, kind: "narrow", cell: (row) => texts.selects[row.select], spare: true },
          { title: texts.endpoint, cell: (row) => <code title={row.endpoint}>{row.endpoint}</code>, spare: true },
          { title: texts.id, cell: (row) => <code title={row.id}>{row.id}</code>, spare: true },
        ]}
      />
      {query.has("new") && (
        <CreateReplay
          app={app}
          endpoint={query.get("endpoint") ?? ""}
          select={query.get("select") ?? ""}
          close={() => go(changed({ new: null, endpoint: null, select: null }))}
        />
      )}
    </div>
  );
}
