/** The portal: what a third party sees of the app that he built on a platform. */

import { useEffect, useRef } from "preact/hooks";
import { Words } from "../kit/overlay";
import { go, place, to } from "../kit/place";
import { session } from "../kit/session";
import { Failed, Loading } from "../kit/shown";
import { Frame, Settings } from "../screens/frame";
import { MENU, menuTexts, ROUTES } from "./routes";
import { enter, leave, outside, trouble, type Whose, whose } from "./session";
import { portal } from "./texts";

export function Portal() {
  // A link may be opened where the portal is open already: then no page is loaded, and the address alone is another one.
  const linked = place.value.path === "/in";
  const began = useRef(false);
  useEffect(() => {
    const code = linked ? place.value.query.get("code") : null;
    if (linked) go(to("/"), { replace: true }); // before anything else: the history keeps no code
    if (linked || !began.current) void enter(code);
    began.current = true;
  }, [linked]);
  return (
    <>
      <Page />
      <Words />
    </>
  );
}

function Page() {
  if (session.value === "out") return <Outside />;
  if (session.value === "in" && whose.value) return <Signed {...whose.value} />;
  if (trouble.value)
    return (
      <main>
        <Failed problem={trouble.value} again={() => void enter(null)} />
      </main>
    );
  return <Loading />;
}

function Signed({ app, platform }: Whose) {
  const title = platform || portal.value.webhooks;
  const menu = [{ title: null, entries: MENU.map(([name, path, key]) => ({ name, title: menuTexts.value[name], path, key })) }];
  const brand = (
    <>
      <span class="platform">{title}</span>
      <span class="of-app">{app.name || (app.uid ?? app.id)}</span>
    </>
  );
  return <Frame title={title} kind="page" brand={brand} menu={menu} routes={ROUTES} signOut={() => void leave()} footer={<By />} />;
}

function By() {
  return <footer class="by">{portal.value.by}</footer>;
}

/** There is nothing to fill in here: the platform knows who somebody is, and leads here. */
function Outside() {
  const said = portal.value;
  useEffect(() => {
    document.title = said.webhooks;
  }, [said]);
  const why = outside.value;
  return (
    <main class="sign-in">
      <div class="form">
        <h1>{said[why]}</h1>
        {trouble.value?.status === 401 ? (
          <p class="notice warn" role="alert">
            {said.spent}
          </p>
        ) : trouble.value ? (
          <Failed problem={trouble.value} />
        ) : (
          <p>{said[`${why}How`]}</p>
        )}
        <footer>
          <Settings />
        </footer>
      </div>
    </main>
  );
}
