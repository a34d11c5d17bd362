import { both } from "../kit/language";

export const portal = both(
  {
    webhooks: "Webhooks",
    by: "Webhooks by Posthouse",
    never: "Sign in through your platform's developer page",
    neverHow: "Open the webhooks of your app from there. It leads here and signs you in.",
    over: "Your session is over",
    overHow: "Open the webhooks of your app again from your platform's developer page.",
    left: "You are signed out",
    leftHow: "To come back, open the webhooks of your app from your platform's developer page.",
    spent: "This link does not work any more: it is too old, or it was used before. Open the webhooks of your app again from your platform's developer page.",
  },
  {
    webhooks: "Webhooks",
    by: "Webhook 服务由 Posthouse 提供",
    never: "请从平台的开发者页面登录",
    neverHow: "在那里打开您应用的 Webhooks，会自动登录并来到这里。",
    over: "会话已结束",
    overHow: "请从平台的开发者页面重新打开您应用的 Webhooks。",
    left: "您已退出",
    leftHow: "如需返回，请从平台的开发者页面打开您应用的 Webhooks。",
    spent: "此链接已失效：已过期，或已使用过。请从平台的开发者页面重新打开您应用的 Webhooks。",
  },
);
