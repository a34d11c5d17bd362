/** Signing in: with an API key, or by a link that works once. Neither ever stands in an address that a server hears of. */

import { useEffect, useState } from "preact/hooks";
import { Form, TextField } from "../kit/fields";
import { go, place, to } from "../kit/place";
import { api, asked } from "../kit/request";
import { useSending } from "../kit/sending";
import { signedIn } from "../kit/session";
import { Refusal } from "../kit/shown";
import { Mark, Settings } from "../screens/frame";
import { shell } from "./texts";

export function SignIn() {
  const texts = shell.value;
  const [key, setKey] = useState("");
  const { busy, problem, send } = useSending();

  const enter = async (with_: { key: string } | { code: string }) => {
    await send(async () => {
      await asked(api.POST("/v1/session", { body: with_ }));
      setKey("");
      signedIn();
    });
  };

  const linked = place.value.path === "/in";
  useEffect(() => {
    if (!linked) return;
    const code = place.value.query.get("code");
    go(to("/"), { replace: true }); // before anything else: the history keeps no code
    if (code) void enter({ code });
  }, [linked]);

  return (
    <main class="sign-in">
      <Form problem={problem} submit={() => key.trim() && void enter({ key: key.trim() })}>
        <h1>
          <Mark /> <span lang="en">Posthouse</span> <span class="faint" lang="zh-CN">驿站</span>
        </h1>
        <p class="faint">{texts.tagline}</p>
        <TextField name="key" label={texts.key} type="password" autoComplete="current-password" value={key} set={setKey} autoFocus placeholder="ph_…" />
        <button type="submit" class="primary" disabled={busy || !key.trim()} aria-busy={busy}>
          {texts.signIn}
        </button>
        <Refusal of={problem} />
        <p class="hint">{texts.noKey}</p>
        <p>
          <code>posthouse open</code>
        </p>
        <footer>
          <Settings />
        </footer>
      </Form>
    </main>
  );
}
