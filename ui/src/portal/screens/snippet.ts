/** How a receiver verifies what it gets, with the libraries of Standard Webhooks. Pure. */

export type Speech = "python" | "javascript";

export const SNIPPETS: Record<Speech, { readonly title: string; readonly install: string; readonly code: string }> = {
  python: {
    title: "Python",
    install: "pip install standardwebhooks",
    code: `import os
from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])

def receive(body: bytes, headers: dict[str, str]) -> int:
    try:
        event = webhook.verify(body, headers)
    except WebhookVerificationError:
        return 401
    print(event["type"], event["data"])
    return 204`,
  },
  javascript: {
    title: "JavaScript",
    install: "npm install standardwebhooks",
    code: `import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);

export function receive(body, headers) {
  let event;
  try {
    event = webhook.verify(body, headers);
  } catch {
    return 401;
  }
  console.log(event.type, event.data);
  return 204;
}`,
  },
};
