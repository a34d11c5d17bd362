/** The presets of how endpoints are spoken to. */

import { useAsked } from "../../../kit/asking";
import { Code } from "../../../kit/json";
import { Drawer } from "../../../kit/overlay";
import { at, changed, place, to } from "../../../kit/place";
import { api, asked, askedText } from "../../../kit/request";
import { Shown } from "../../../kit/shown";
import { Copy, Facts } from "../../../kit/small";
import { Table } from "../../../kit/table";
import { memberText } from "../../../kit/json";
import type { components } from "../../../api/schema";
import { playground } from "./texts";

type Profile = components["schemas"]["ProfileAnswer"];

export function Profiles() {
  const texts = playground.value;
  const open = place.value.query.get("open");
  const found = useAsked((signal) => asked(api.GET("/v1/profiles", { signal })), []);
  return (
    <>
      <p class="hint">{texts.profilesAbout}</p>
      <Shown of={found}>
        {(all) => (
          <Table
            label={texts.profiles}
            rows={all.data}
            id={(row) => row.name}
            link={(row) => changed({ open: row.name })}
            open={open}
            columns={[
              { title: texts.name, cell: (row) => <code>{row.name}</code> },
              { title: texts.profile, cell: (row) => row.title },
              { title: "", kind: "wide", cell: (row) => <span title={row.about}>{row.about}</span>, spare: true },
            ]}
          />
        )}
      </Shown>
      {open && <One key={open} name={open} />}
    </>
  );
}

function One({ name }: { name: string }) {
  const texts = playground.value;
  const found = useAsked(
    async (signal) => {
      const text = await askedText(at`/v1/profiles/${name}`, signal);
      return { of: JSON.parse(text) as Profile, endpoint: memberText(text, "endpoint") ?? "{}", receive: memberText(text, "receive") ?? "{}" };
    },
    [name],
  );
  return (
    <Drawer title={found.data ? `${found.data.of.name} · ${found.data.of.title}` : name} closed={changed({ open: null })}>
      <Shown of={found}>
        {({ of, endpoint, receive }) => (
          <>
            <p>{of.about}</p>
            <p>
              <a class="button" href={to("/playground", { tab: "requests", profile: of.name })}>
                {texts.tryIt}
              </a>
            </p>
            <Facts
              of={[
                of.source !== "" && [
                  texts.source,
                  <span class="id">
                    <span>{of.source}</span>
                    <Copy text={of.source} />
                  </span>,
                ],
                ...of.keys.map(
                  (one) =>
                    [
                      <>
                        {texts.keys}: <code>{one.name}</code>
                      </>,
                      texts.aside(one.about, one.make === null ? texts.mustGive : texts.makes(one.make)),
                    ] as const,
                ),
                ...of.settings.map(
                  (one) =>
                    [
                      <>
                        {texts.settings}: <code>{one.name}</code>
                      </>,
                      texts.aside(one.about, one.default === null ? texts.mustGive : `${texts.byDefault} ${one.default}`),
                    ] as const,
                ),
              ]}
            />
            <h3>{texts.fields}</h3>
            <Code text={endpoint} label={texts.fields} />
            <h3>{texts.receive}</h3>
            <Code text={receive} label={texts.receive} />
          </>
        )}
      </Shown>
    </Drawer>
  );
}
