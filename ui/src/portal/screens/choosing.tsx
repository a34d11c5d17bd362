/** Event types, chosen from the list of those that there are: all, or only these. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { ChipsField } from "../../kit/chips";
import { Shown } from "../../kit/shown";
import { type EventType, usePatterns, useTypesAsked } from "../../screens/endpoints/types";
import { portal } from "./texts";

const SEARCHED_FROM = 8;
const NONE: readonly EventType[] = [];

/** `value` as an endpoint has it: names and beginnings such as `order.*`; empty means all. `broken`: nothing is chosen yet. */
export function TypesField({
  label,
  value,
  set,
  broken,
}: {
  label: ComponentChildren;
  value: readonly string[];
  set: (value: string[]) => void;
  broken: (is: boolean) => void;
}) {
  const said = portal.value;
  const asked = useTypesAsked();
  const types = asked.data?.data ?? NONE;
  const patterns = usePatterns(types);
  const [some, choose] = useState(value.length > 0);
  const [searched, search] = useState("");
  const name = useId();
  const undecided = some && value.length === 0;
  useEffect(() => broken(undecided), [undecided]);
  useEffect(() => () => broken(false), []);

  const names = new Set(types.map((one) => one.name));
  const beginnings = value.filter((one) => !names.has(one));
  const covering = (type: string) => beginnings.find((one) => one.endsWith("*") && type.startsWith(one.slice(0, -1)));
  const found = types.filter((one) => `${one.name} ${one.description}`.toLowerCase().includes(searched.trim().toLowerCase()));
  const toggle = (type: string, on: boolean) => set(on ? [...value, type] : value.filter((one) => one !== type));
  return (
    <fieldset class="choosing">
      <legend>{label}</legend>
      <label class="choice">
        <input
          type="radio"
          name={name}
          checked={!some}
          onChange={() => {
            choose(false);
            set([]);
          }}
        />
        <span>{said.allTypes}</span>
      </label>
      <label class="choice">
        <input type="radio" name={name} checked={some} onChange={() => choose(true)} />
        <span>{said.someTypes}</span>
      </label>
      {some && (
        <Shown of={asked}>
          {() => (
            <>
              {types.length >= SEARCHED_FROM && (
                <input type="text" value={searched} aria-label={said.searchTypes} placeholder={said.searchTypes} onInput={(event) => search(event.currentTarget.value)} />
              )}
              <div class="choices" role="group" aria-label={said.someTypes} tabIndex={0}>
                {found.map((one) => {
                  const by = covering(one.name);
                  return (
                    <label key={one.name} class="choice">
                      <input
                        type="checkbox"
                        checked={by !== undefined || value.includes(one.name)}
                        disabled={by !== undefined}
                        onChange={(event) => toggle(one.name, event.currentTarget.checked)}
                      />
                      <span>
                        <code class="type-name">{one.name}</code>
                        <span class="faint">{by ? said.coveredBy(by) : one.description}</span>
                      </span>
                    </label>
                  );
                })}
                {found.length === 0 && <p class="choice faint">{said.noTypes}</p>}
              </div>
              <details open={beginnings.length > 0}>
                <summary class="faint">{said.byBeginning}</summary>
                <ChipsField
                  name="events"
                  label={<span class="unseen">{said.byBeginning}</span>}
                  hint={said.byBeginningHint}
                  value={beginnings}
                  set={(next) => set([...value.filter((one) => names.has(one)), ...next])}
                  suggestions={patterns.filter((one) => one.endsWith("*"))}
                />
              </details>
              {undecided && <p class="hint">{said.chooseOne}</p>}
            </>
          )}
        </Shown>
      )}
    </fieldset>
  );
}
