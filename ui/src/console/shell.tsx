/** The console: who is signed in, and what there is to go to. */

import { useEffect } from "preact/hooks";
import { problemOf } from "../kit/asking";
import { Words } from "../kit/overlay";
import { place } from "../kit/place";
import { api, asked } from "../kit/request";
import { session, signedIn, signedOut } from "../kit/session";
import { Loading } from "../kit/shown";
import { Frame, leave, Mark } from "../screens/frame";
import { MENU, menuTexts, ROUTES } from "./routes";
import { SignIn } from "./signin";

export function Console() {
  // A link may be opened where the console is open already: then no page is loaded, and the address alone is another one.
  const linked = place.value.path === "/in";
  useEffect(() => {
    if (linked) signedOut(); // it is spent by the screen of signing in
  }, [linked]);
  useEffect(() => {
    if (linked) return;
    asked(api.GET("/v1/session")).then(signedIn, (error: unknown) => {
      // Whoever is not known is told so by 401; anything else is the server's trouble, and the screens say it.
      if (problemOf(error).status !== 401) signedIn();
    });
  }, []);
  return (
    <>
      {session.value === null ? <Loading /> : session.value === "out" ? <SignIn /> : <Signed />}
      <Words />
    </>
  );
}

function Signed() {
  const texts = menuTexts.value;
  const menu = MENU.map(({ group, entries }) => ({
    title: texts[group],
    entries: entries.map(([name, path, key]) => ({ name, title: texts[name], path, key })),
  }));
  const brand = (
    <>
      <Mark />
      <span lang="en">Posthouse</span> <span class="faint" lang="zh-CN">驿站</span>
    </>
  );
  return <Frame title="Posthouse" kind="console" brand={brand} menu={menu} routes={ROUTES} signOut={() => void leave()} />;
}
