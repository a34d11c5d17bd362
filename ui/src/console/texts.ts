import { both } from "../kit/language";

export const shell = both(
  {
    signIn: "Sign in",
    key: "API key of an administrator",
    noKey: "No key at hand? On the machine of the server, this command prints a link that signs you in once:",
    tagline: "See every event travel, find the broken target, send it again.",
  },
  {
    signIn: "登录",
    key: "管理员的 API 密钥",
    noKey: "手边没有密钥？在服务器所在的机器上运行此命令，它会给出一个一次性登录链接：",
    tagline: "看清每个事件的去向，找到出错的目标，重新发送。",
  },
);
