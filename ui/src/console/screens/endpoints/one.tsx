import { EndpointScreen } from "../../../screens/endpoints/one";
import type { Params } from "../../../screens/routing";

export default function One({ params }: { params: Params }) {
  return <EndpointScreen params={params} setting={null} latest={false} />;
}
