/** A request and the answer to it, as they were sent. */

import type { components } from "../../api/schema";
import { bytes, duration } from "../../kit/numbers";
import { Code } from "../../kit/json";
import { Copy, Phases } from "../../kit/small";
import { texts } from "./texts";

type Request = components["schemas"]["RequestAnswer"];
type Response = components["schemas"]["ResponseAnswer"];
type Timings = components["schemas"]["TimingsAnswer"];

export function Sent({ of }: { of: Request }) {
  return <Message title={texts.value.request} start={`${of.method} ${of.url}`} of={of} />;
}

export function Answered({ of }: { of: Response | null }) {
  const said = texts.value;
  if (of === null) return <p class="faint">{said.noResponse}</p>;
  return <Message title={said.response} start={of.status === null ? "" : String(of.status)} of={of} />;
}

function Message({ title, start, of }: { title: string; start: string; of: Omit<Request, "method" | "url"> }) {
  const said = texts.value;
  const headers = of.headers.map((one) => `${one.name}: ${one.value}`);
  const head = [start, ...headers].filter(Boolean).join("\n");
  const body = of.body ?? of.body_base64;
  return (
    <section class="exchange">
      <header>
        <h3>{title}</h3>
        <Copy text={`${head}\n\n${body ?? ""}`} />
      </header>
      <Code plain text={head} label={title} />
      {of.body === null && of.body_base64 !== null && <p class="hint">{said.binary(bytes((of.body_base64.length * 3) / 4))}</p>}
      {body ? <Code text={body} label={title} /> : <p class="faint">{said.empty}</p>}
    </section>
  );
}

export function Took({ of }: { of: Timings }) {
  const parts = [
    ["dns", of.dns_ms],
    ["connect", of.connect_ms],
    ["tls", of.tls_ms],
    ["first_byte", of.first_byte_ms],
  ] as const;
  const rest = of.total_ms - parts.reduce((sum, [, ms]) => sum + (ms ?? 0), 0);
  return (
    <Phases
      of={[...parts, ["rest", Math.max(0, rest)] as const]
        .filter(([, ms]) => ms !== null && ms > 0)
        .map(([name, ms]) => ({ name, ms: ms ?? 0, title: `${name.replace("_", " ")} ${duration(ms ?? 0)}` }))}
    />
  );
}
