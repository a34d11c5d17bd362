/** What a trigger does where it watches: the statements that make it ready, and those that remove all traces. */

import type { components } from "../../../api/schema";
import { Code } from "../../../kit/json";
import { Copy } from "../../../kit/small";
import { triggers } from "./texts";
import "./triggers.css";

type Plan = components["schemas"]["PlanAnswer"];

export function PlanShown({ of }: { of: Plan }) {
  const texts = triggers.value;
  return (
    <div class="statements">
      {of.install.length === 0 ? <p class="hint">{texts.planNothing}</p> : <Statements title={texts.planInstall} of={of.install} />}
      {of.remarks.length > 0 && (
        <div class="notice">
          <strong>{texts.planRemarks}</strong>
          <ul>
            {of.remarks.map((one) => (
              <li key={one}>{one}</li>
            ))}
          </ul>
        </div>
      )}
      {of.remove.length > 0 && (
        <details>
          <summary>{texts.planRemove}</summary>
          <Statements title={texts.planRemove} of={of.remove} />
        </details>
      )}
    </div>
  );
}

function Statements({ title, of }: { title: string; of: readonly string[] }) {
  const text = of.map((one) => (one.trimEnd().endsWith(";") ? one : `${one};`)).join("\n\n");
  return (
    <section class="statements">
      <header class="buttons">
        <h3>{title}</h3>
        <Copy text={text} />
      </header>
      <Code text={text} plain label={title} />
    </section>
  );
}
