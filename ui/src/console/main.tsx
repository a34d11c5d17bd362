import { render } from "preact";
import "../kit/kit.css";
import { shows } from "../screens/page";
import { page } from "./several";
import { Console } from "./shell";
import "./console.css";

shows(page);
render(<Console />, document.body);
