import { render } from "preact";
import "../kit/kit.css";
import "./console.css";
import { Console } from "./shell";

render(<Console />, document.body);
