/** A headless Chromium. In: CHROMIUM_PATH, or the usual places. Out: a browser, with WebGPU (played by the processor) or without. */
import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const places = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
];

/** Where Chromium is, or nothing. */
export const chromiumPath: string | undefined =
  process.env["CHROMIUM_PATH"] || places.find((place) => existsSync(place));

/** Starts it. */
export function launchChromium(options: { readonly webgpu: boolean }): Promise<Browser> {
  const args = ["--disable-background-networking", "--disable-component-update"];
  // As root, which containers mostly run as, its sandbox does not start.
  if (process.getuid?.() === 0) args.push("--no-sandbox");
  if (options.webgpu) args.push("--enable-unsafe-webgpu");
  return chromium.launch({ executablePath: chromiumPath!, args });
}
