// Opens an address in the browser of the desktop, if there is one.

import { spawn } from "node:child_process";

/** Says whether a browser was asked to; nothing is asked on a machine without a desktop, or from afar. */
export function openBrowser(url: string, env: NodeJS.ProcessEnv = process.env): boolean {
  const hasDesktop = env["DISPLAY"] !== undefined || env["WAYLAND_DISPLAY"] !== undefined;
  if (process.platform === "linux" && (!hasDesktop || env["SSH_CONNECTION"] !== undefined)) return false;
  const program = { darwin: "open", win32: "explorer.exe" }[process.platform as string] ?? "xdg-open";
  const child = spawn(program, [url], { detached: true, stdio: "ignore" });
  // Not there: the address is on the terminal.
  child.on("error", () => {});
  child.unref();
  return true;
}
