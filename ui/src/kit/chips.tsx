/** Fields that hold several things: texts, and names with their values. */

import { useId, useState } from "preact/hooks";
import { type Common, useField } from "./fields";
import { kit } from "./texts";

/** Texts, each of which can be taken away. Enter or a comma adds what is typed, and so does leaving the field. */
export function ChipsField({
  value,
  set,
  suggestions = [],
  placeholder,
  spaces = false,
  ...common
}: Common & {
  value: readonly string[];
  set: (value: string[]) => void;
  suggestions?: readonly string[];
  placeholder?: string;
  /** Whether one may have spaces in it. */
  spaces?: boolean;
}) {
  const { wiring, frame } = useField(common);
  const list = useId();
  const [typed, type] = useState("");
  const add = (text: string) => {
    type("");
    const fresh = text
      .split(spaces ? /,/ : /[,\s]+/)
      .map((one) => one.trim())
      .filter((one) => one && !value.includes(one));
    if (fresh.length > 0) set([...value, ...new Set(fresh)]);
  };
  return frame(
    <div class="chips">
      {value.map((one, i) => (
        <span key={one} class="chip">
          <code>{one}</code>
          {!common.disabled && (
            <button type="button" class="quiet" aria-label={kit.value.removeOne(one)} onClick={() => set(value.filter((_, at) => at !== i))}>
              ✕
            </button>
          )}
        </span>
      ))}
      <input
        {...wiring}
        type="text"
        list={suggestions.length > 0 ? list : undefined}
        value={typed}
        placeholder={placeholder}
        spellcheck={false}
        autoComplete="off"
        onInput={(event) => {
          const text = event.currentTarget.value;
          // What is chosen from the list comes whole, and needs no Enter.
          if ((spaces ? /,$/ : /[,\s]$/).test(text) || (suggestions.includes(text) && event instanceof InputEvent && event.inputType !== "insertText")) add(text);
          else type(text);
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && typed.trim()) {
            event.preventDefault();
            add(typed);
          } else if (event.key === "Backspace" && typed === "" && value.length > 0) set(value.slice(0, -1));
        }}
        onBlur={() => add(typed)}
      />
      {suggestions.length > 0 && (
        <datalist id={list}>
          {suggestions
            .filter((one) => !value.includes(one))
            .map((one) => (
              <option key={one} value={one} />
            ))}
        </datalist>
      )}
    </div>,
  );
}

/** Names with their values, as of headers. */
export function PairsField({ value, set, ...common }: Common & { value: Readonly<Record<string, string>>; set: (value: Record<string, string>) => void }) {
  const { wiring, frame } = useField(common);
  // Rows are kept as they are typed: two may have the same name for a moment, or none.
  const [rows, setRows] = useState<readonly (readonly [string, string])[]>(() => Object.entries(value));
  const said = JSON.stringify(Object.fromEntries(rows.filter(([name]) => name)));
  const shown = said === JSON.stringify(value) ? rows : Object.entries(value);
  const change = (next: readonly (readonly [string, string])[]) => {
    setRows(next);
    set(Object.fromEntries(next.filter(([name]) => name)));
  };
  const { id, ...others } = wiring;
  return frame(
    <div class="pairs">
      {shown.map(([name, text], i) => (
        <div key={i}>
          <input
            {...others}
            id={i === 0 ? id : undefined}
            type="text"
            value={name}
            spellcheck={false}
            aria-label={kit.value.pairName}
            placeholder={kit.value.pairName}
            onInput={(event) => change(shown.map((row, at) => (at === i ? [event.currentTarget.value, row[1]] : row)))}
          />
          <input
            {...others}
            type="text"
            value={text}
            spellcheck={false}
            aria-label={kit.value.pairValue}
            placeholder={kit.value.pairValue}
            onInput={(event) => change(shown.map((row, at) => (at === i ? [row[0], event.currentTarget.value] : row)))}
          />
          <button type="button" class="quiet" aria-label={kit.value.removeOne(name)} onClick={() => change(shown.filter((_, at) => at !== i))}>
            ✕
          </button>
        </div>
      ))}
      <button type="button" id={shown.length === 0 ? id : undefined} disabled={wiring.disabled} onClick={() => setRows([...shown, ["", ""]])}>
        {kit.value.addOne}
      </button>
    </div>,
  );
}
