/** uPlot with its style, apart: only screens with a chart fetch it. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export default uPlot;
