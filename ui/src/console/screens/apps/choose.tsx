/** Choosing an app by typing how its name or uid begins, for lists. */

import { useEffect, useId, useState } from "preact/hooks";
import { changed, go, place } from "../../../kit/place";
import { api, asked } from "../../../kit/request";
import { known, titleOf } from "../../names";

const PAUSE_MS = 200;

/** Apps that what is typed may mean. */
function useApps(text: string): readonly { readonly id: string; readonly uid: string | null; readonly name: string }[] {
  const [found, setFound] = useState<readonly { id: string; uid: string | null; name: string }[]>([]);
  useEffect(() => {
    const gone = new AbortController();
    const timer = setTimeout(() => {
      const query = { limit: 20, ...(text && { search: text }) };
      asked(api.GET("/v1/apps", { params: { query }, signal: gone.signal })).then(
        (page) => {
          known(page.data);
          setFound(page.data);
        },
        () => undefined, // suggestions only: whoever chooses is told by the list
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      gone.abort();
    };
  }, [text]);
  return found;
}

function Suggestions({ id, text }: { id: string; text: string }) {
  return (
    <datalist id={id}>
      {useApps(text).map((app) => (
        <option key={app.id} value={app.uid ?? app.id}>
          {titleOf(app)}
        </option>
      ))}
    </datalist>
  );
}

/** A filter of the address: an app, by its id or uid. It takes effect on Enter, when it is left, or when one is chosen. */
export function AppFilter({ name, label }: { name: string; label: string }) {
  const list = useId();
  const current = place.value.query.get(name) ?? "";
  const [typed, type] = useState<string | null>(null);
  const apply = (text: string) => {
    type(null);
    if (text.trim() !== current) go(changed({ [name]: text.trim() || null, open: null }), { replace: true });
  };
  return (
    <>
      <input
        type="text"
        list={list}
        aria-label={label}
        placeholder={label}
        value={typed ?? current}
        spellcheck={false}
        autoComplete="off"
        onInput={(event) => {
          // What is chosen from the list comes whole.
          if (event instanceof InputEvent && event.inputType === "insertReplacementText") apply(event.currentTarget.value);
          else type(event.currentTarget.value);
        }}
        onBlur={(event) => apply(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") apply(event.currentTarget.value);
          if (event.key === "Escape") event.currentTarget.blur();
        }}
      />
      <Suggestions id={list} text={typed ?? current} />
    </>
  );
}
