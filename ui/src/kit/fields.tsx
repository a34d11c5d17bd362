/** Fields of forms: each has its label, says what it is for, and shows the server's word on it beside it. */

import { type ComponentChildren, createContext } from "preact";
import { useContext, useId, useState } from "preact/hooks";
import type { Problem } from "./request";
import { kit } from "./texts";

const Refused = createContext<Problem | null>(null);

/** A form whose fields know what the server said of them: an error's `path` is the name of its field. */
export function Form({ problem, submit, children }: { problem: Problem | null; submit: () => void; children: ComponentChildren }) {
  return (
    <Refused.Provider value={problem}>
      <form
        class="form"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        {children}
      </form>
    </Refused.Provider>
  );
}

export interface Common {
  /** As in the API: what errors call it. */
  readonly name: string;
  readonly label: ComponentChildren;
  readonly hint?: ComponentChildren;
  readonly required?: boolean;
  readonly disabled?: boolean;
  /** What is wrong with it, as far as can be told here. */
  readonly wrong?: string | null;
}

interface Wiring {
  readonly id: string;
  readonly name: string;
  readonly required: boolean;
  readonly disabled: boolean;
  readonly "aria-invalid": boolean;
  readonly "aria-describedby": string | undefined;
}

/** What a control needs to be a field, and the frame around it. */
export function useField(common: Common): { wiring: Wiring; frame: (control: ComponentChildren) => ComponentChildren } {
  const id = useId();
  const refused = useContext(Refused);
  const found = (refused?.refusals ?? []).filter(
    (one) => one.path === common.name || one.path.startsWith(`${common.name}.`) || one.path.startsWith(`${common.name}[`),
  );
  const errors = common.wrong ? [...found, { path: common.name, detail: common.wrong }] : found;
  const described = [common.hint ? `${id}-hint` : "", errors.length > 0 ? `${id}-error` : ""].filter(Boolean).join(" ");
  return {
    wiring: {
      id,
      name: common.name,
      required: common.required ?? false,
      disabled: common.disabled ?? false,
      "aria-invalid": errors.length > 0,
      "aria-describedby": described || undefined,
    },
    frame: (control) => (
      <div class={`field${errors.length > 0 ? " refused" : ""}`}>
        <label for={id}>
          {common.label}
          {common.required && (
            <span class="required" title={kit.value.required}>
              *
            </span>
          )}
        </label>
        {control}
        {common.hint && (
          <p class="hint" id={`${id}-hint`}>
            {common.hint}
          </p>
        )}
        {errors.length > 0 && (
          <p class="error" id={`${id}-error`} role="alert">
            {errors.map((one) => (one.path === common.name ? one.detail : `${one.path}: ${one.detail}`)).join("\n")}
          </p>
        )}
      </div>
    ),
  };
}

export function TextField({
  value,
  set,
  type = "text",
  placeholder,
  autoComplete = "off",
  autoFocus = false,
  list,
  ...common
}: Common & {
  value: string;
  set: (value: string) => void;
  type?: "text" | "url" | "password" | "search" | "datetime-local";
  placeholder?: string | undefined;
  autoComplete?: string;
  autoFocus?: boolean;
  /** The id of a datalist of proposals. */
  list?: string;
}) {
  const { wiring, frame } = useField(common);
  return frame(
    <input
      {...wiring}
      type={type as "text"}
      value={value}
      placeholder={placeholder}
      autoComplete={autoComplete}
      autoFocus={autoFocus}
      list={list}
      spellcheck={false}
      onInput={(event) => set(event.currentTarget.value)}
    />,
  );
}

/** A number, or null where the field is empty. What is typed stays as it is until it is left. */
export function NumberField({
  value,
  set,
  min,
  max,
  step = "any",
  unit,
  placeholder,
  ...common
}: Common & { value: number | null; set: (value: number | null) => void; min?: number; max?: number; step?: number | "any"; unit?: string; placeholder?: string }) {
  const { wiring, frame } = useField(common);
  const [typed, type] = useState<string | null>(null);
  return frame(
    <span class="with-unit">
      <input
        {...wiring}
        type="number"
        inputMode="decimal"
        value={typed ?? (value === null ? "" : String(value))}
        min={min}
        max={max}
        step={step}
        placeholder={placeholder}
        onInput={(event) => {
          type(event.currentTarget.value);
          const number = event.currentTarget.value === "" ? null : Number(event.currentTarget.value);
          if (number === null || Number.isFinite(number)) set(number);
        }}
        onBlur={() => type(null)}
      />
      {unit && <span class="unit">{unit}</span>}
    </span>,
  );
}

export function ChoiceField<V extends string>({
  value,
  set,
  choices,
  ...common
}: Common & { value: V; set: (value: V) => void; choices: readonly (readonly [value: V, title: string])[] }) {
  const { wiring, frame } = useField(common);
  return frame(
    <select {...wiring} value={value} onChange={(event) => set(event.currentTarget.value as V)}>
      {choices.map(([one, title]) => (
        <option key={one} value={one}>
          {title}
        </option>
      ))}
    </select>,
  );
}

export function SwitchField({ value, set, ...common }: Common & { value: boolean; set: (value: boolean) => void }) {
  const { wiring, frame } = useField(common);
  return frame(<input {...wiring} type="checkbox" role="switch" checked={value} onChange={(event) => set(event.currentTarget.checked)} />);
}

/** Code, JSON or an expression; Tab leaves it as any other field. */
export function CodeField({
  value,
  set,
  rows = 4,
  placeholder,
  ...common
}: Common & { value: string; set: (value: string) => void; rows?: number; placeholder?: string }) {
  const { wiring, frame } = useField(common);
  return frame(
    <textarea
      {...wiring}
      class="mono"
      rows={rows}
      value={value}
      placeholder={placeholder}
      spellcheck={false}
      autoComplete="off"
      onInput={(event) => set(event.currentTarget.value)}
    />,
  );
}

/** Several texts: separated by commas or lines. */
export function ListField({ value, set, placeholder, ...common }: Common & { value: readonly string[]; set: (value: string[]) => void; placeholder?: string }) {
  const { wiring, frame } = useField(common);
  const [typed, type] = useState<string | null>(null);
  return frame(
    <input
      {...wiring}
      type="text"
      value={typed ?? value.join(", ")}
      placeholder={placeholder}
      spellcheck={false}
      autoComplete="off"
      onInput={(event) => {
        type(event.currentTarget.value);
        set(
          event.currentTarget.value
            .split(/[,\n]/)
            .map((one) => one.trim())
            .filter(Boolean),
        );
      }}
      onBlur={() => type(null)}
    />,
  );
}

/** Fields that belong together. */
export function Group({
  title,
  hint,
  children,
  open = true,
  toggled,
}: {
  title: ComponentChildren;
  hint?: ComponentChildren;
  children: ComponentChildren;
  open?: boolean;
  toggled?: (open: boolean) => void;
}) {
  return (
    <details class="group" open={open} onToggle={(event) => toggled?.(event.currentTarget.open)}>
      <summary>
        <strong>{title}</strong>
        {hint && <span class="hint">{hint}</span>}
      </summary>
      <div class="group-body">{children}</div>
    </details>
  );
}
