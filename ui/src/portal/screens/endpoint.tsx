/** One endpoint, as whoever runs its target looks at it. */

import { TextField } from "../../kit/fields";
import type { Endpoint } from "../../screens/endpoints/endpoint";
import { EndpointScreen } from "../../screens/endpoints/one";
import type { Edit } from "../../screens/endpoints/groups";
import type { Setting } from "../../screens/endpoints/settings";
import { texts } from "../../screens/endpoints/texts";
import type { Params } from "../../screens/routing";
import { TypesField } from "./choosing";
import { portal } from "./texts";
import { Verify } from "./verify";

export default function One({ params }: { params: Params }) {
  return <EndpointScreen params={params} setting={SETTING} latest Below={HowToVerify} />;
}

/** What is changed most stands first, by itself; what is a button above is no setting; and the ways out are the platform's. */
const SETTING: Setting = {
  First,
  without: new Set(["url", "description", "events", "enabled", "paused", "proxy", "proxy_key", "source_address"]),
  open: [],
};

function First({ edit }: { edit: Edit }) {
  const { fields, hints } = texts.value;
  const label = (field: "url" | "description" | "events") => (edit.changed(field) ? <span class="edited">{fields[field]} •</span> : fields[field]);
  return (
    <section class="panel">
      <TextField name="url" label={label("url")} type="url" value={edit.value("url")} set={(value) => edit.set("url", value)} hint={hints.url} required />
      <TextField name="description" label={label("description")} value={edit.value("description")} set={(value) => edit.set("description", value)} hint={portal.value.descriptionHint} />
      <TypesField label={label("events")} value={edit.value("events")} set={(value) => edit.set("events", value)} broken={edit.broken("events")} />
    </section>
  );
}

function HowToVerify({ of }: { of: Endpoint }) {
  return (
    <section class="panel">
      <h2>{portal.value.verify}</h2>
      <Verify of={of} />
    </section>
  );
}
