/** When something is due: how soon; once its time has come it is due until it is done. */

import { now, Time } from "../../kit/numbers";
import { texts } from "./texts";

export function Due({ at }: { at: string }) {
  const came = new Date(at).getTime() <= Math.max(now.value, Date.now());
  return came ? <span title={at}>{texts.value.dueNow}</span> : <Time at={at} relative />;
}
