import { render } from "preact";
import "../kit/kit.css";
import { at } from "../kit/place";
import { askAs } from "../kit/request";
import { shows } from "../screens/page";
import { Portal } from "./shell";
import "./portal.css";

askAs("portal");
shows({
  several: null,
  endpoint: (_, endpoint) => at`/endpoints/${endpoint}`,
  replay: (_, replay) => at`/replays/${replay}`,
  endpoints: "/",
});
render(<Portal />, document.body);
