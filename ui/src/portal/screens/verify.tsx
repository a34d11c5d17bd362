/** How to verify what an endpoint is sent, in a few lines to copy. */

import { useState } from "preact/hooks";
import { Code } from "../../kit/json";
import { Copy } from "../../kit/small";
import type { Endpoint } from "../../screens/endpoints/endpoint";
import { SNIPPETS, type Speech } from "./snippet";
import { portal } from "./texts";

const SPEECHES = Object.keys(SNIPPETS) as Speech[];

export function Verify({ of }: { of: Pick<Endpoint, "signing"> }) {
  const said = portal.value;
  const [speech, speak] = useState<Speech>("python");
  if (of.signing !== null) return <p class="hint">{said.verifyOther}</p>;
  const { title, install, code } = SNIPPETS[speech];
  return (
    <>
      <p class="hint">{said.verifyHow}</p>
      <div class="snippet-of">
        {SPEECHES.map((one) => (
          <button key={one} type="button" aria-pressed={one === speech} onClick={() => speak(one)}>
            {SNIPPETS[one].title}
          </button>
        ))}
        <span class="grow" />
        <code>{install}</code>
        <Copy text={install} />
      </div>
      <div class="with-copy">
        <Copy text={code} />
        <Code plain text={code} label={title} />
      </div>
    </>
  );
}
