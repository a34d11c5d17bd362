/** What the frame around the screens says. */

import { both } from "../kit/language";

export const frame = both(
  {
    skip: "Skip to content",
    menu: "Menu",
    keys: "Keyboard",
    close: "Close",
    signOut: "Sign out",
    theme: "Theme",
    themes: { system: "Auto", light: "Light", dark: "Dark" },
    keyHelp: [
      ["/", "Search or filter"],
      ["j k", "Next and previous row"],
      ["Enter", "Open the row"],
      ["r", "Send again (an attempt, an owed delivery)"],
      ["Esc", "Close what is open"],
      ["?", "This help"],
    ],
  },
  {
    skip: "跳到正文",
    menu: "菜单",
    keys: "键盘",
    close: "关闭",
    signOut: "退出",
    theme: "主题",
    themes: { system: "自动", light: "浅色", dark: "深色" },
    keyHelp: [
      ["/", "搜索或筛选"],
      ["j k", "下一行、上一行"],
      ["Enter", "打开此行"],
      ["r", "重新发送（投递尝试、待送的投递）"],
      ["Esc", "关闭当前打开的内容"],
      ["?", "本帮助"],
    ],
  },
);
