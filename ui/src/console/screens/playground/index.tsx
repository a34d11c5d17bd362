/** A place to try expressions, and to see what an endpoint would be sent. */

import { Tabs } from "../../../kit/small";
import type { Params } from "../../../screens/routing";
import { Expressions } from "./expressions";
import { Profiles } from "./profiles";
import { Requests } from "./requests";
import { playground } from "./texts";
import "./playground.css";

export default function Playground(_: { params: Params }) {
  const texts = playground.value;
  return (
    <div class="screen">
      <header>
        <h1>{texts.title}</h1>
        <span class="hint">{texts.about}</span>
      </header>
      <Tabs
        tabs={[
          { name: "expressions", title: texts.tabs.expressions, body: () => <Expressions /> },
          { name: "requests", title: texts.tabs.requests, body: () => <Requests /> },
          { name: "profiles", title: texts.tabs.profiles, body: () => <Profiles /> },
        ]}
      />
    </div>
  );
}
