// The page from end to end, in a headless Chromium: trained and asked to write on every device it can run on.
import type { MetricsRecord } from "@millrace/trainer";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { chromiumPath, launchChromium } from "../test/chromium.ts";
import { buildSite, serveSite, type Site } from "../test/site.ts";

if (chromiumPath === undefined)
  console.warn("There is no Chromium, so the page is not tested. Name one in CHROMIUM_PATH.");

/** Steps that are compared. */
const steps = 20;

describe.skipIf(chromiumPath === undefined)("the page", () => {
  let files: ReadonlyMap<string, string>;
  let isolated: Site;
  let plain: Site;
  let withGpu: Browser;
  let withoutGpu: Browser;
  const problems: string[] = [];

  beforeAll(async () => {
    files = await buildSite();
    [isolated, plain, withGpu, withoutGpu] = await Promise.all([
      serveSite({ isolated: true }),
      serveSite({ isolated: false }),
      launchChromium({ webgpu: true }),
      launchChromium({ webgpu: false }),
    ]);
  });

  afterAll(async () => {
    await Promise.all([withGpu?.close(), withoutGpu?.close(), isolated?.close(), plain?.close()]);
  });

  /** Opens the page; whatever it complains of fails the test. */
  async function open(browser: Browser, site: Site): Promise<Page> {
    problems.length = 0;
    const page = await browser.newPage();
    page.setDefaultTimeout(120_000);
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) problems.push(message.text());
    });
    page.on("pageerror", (error) => problems.push(error.message));
    await page.goto(`${site.address}?size=minimal`);
    await page.waitForFunction(() => document.querySelector("textarea")!.value !== "");
    return page;
  }

  /** Trains at least `steps` steps and pauses; what the page has measured. */
  async function train(page: Page): Promise<readonly MetricsRecord[]> {
    await page.click("#toggle");
    await page.waitForFunction(
      (wanted) => {
        const shown = document.querySelector("#figure-step")!.textContent;
        const failed = document.body.dataset["state"] === "failed";
        return failed || Number(shown.replaceAll(",", "")) >= wanted;
      },
      steps,
      { polling: 100 },
    );
    await expectNoProblem(page);
    await page.click("#toggle");
    await page.waitForSelector("body[data-state=paused]");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
    const lines: string[] = [];
    for await (const part of await download.createReadStream()) lines.push(String(part));
    return lines
      .join("")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as MetricsRecord);
  }

  /** What the model writes after "The mill", and what the page says of it. */
  async function write(page: Page, speculative: boolean): Promise<{ text: string; note: string }> {
    await page.fill("#prompt", "The mill");
    await page.fill("#temperature", "0");
    await page.fill("#length", "16");
    await page.setChecked("#speculative", speculative);
    await page.click("#write");
    await page.waitForFunction(
      () =>
        document.querySelector("#write")!.textContent === "Write" &&
        document.querySelector("#written-note")!.textContent !== "Writing …",
    );
    await expectNoProblem(page);
    return {
      text: (await page.textContent("#written"))!,
      note: (await page.textContent("#written-note"))!,
    };
  }

  async function expectNoProblem(page: Page): Promise<void> {
    expect(await page.textContent("#error")).toBe("");
    expect(problems).toEqual([]);
  }

  /** The whole of what a user does, on one device. */
  async function tryOut(page: Page, device: string): Promise<readonly MetricsRecord[]> {
    const records = await train(page);
    expect(await page.textContent("#device-used")).toContain(device);
    expect(records.slice(0, steps).map(({ step }) => step)).toEqual(
      Array.from({ length: steps }, (_, i) => i + 1),
    );
    expect(records[steps - 1]!.loss).toBeLessThan(records[0]!.loss - 1);
    expect(records[steps - 1]!.mtpLoss).toBeLessThan(records[0]!.mtpLoss! - 1);
    expect(await page.locator("#curves path.line").count()).toBeGreaterThanOrEqual(3);
    const drafted = await write(page, true);
    expect(drafted.text).toMatch(/^The mill.+/s);
    expect(drafted.note).toMatch(/^\d+ bytes, \d+ of \d+ drafts accepted/);
    const alone = await write(page, false);
    expect(alone.note).toMatch(/^\d+ bytes, no drafts/);
    // Greedy: drafts change nothing but the speed.
    expect(alone.text).toBe(drafted.text);
    return records;
  }

  const lossesOf = (records: readonly MetricsRecord[]): readonly number[] =>
    records.slice(0, steps).flatMap(({ loss, mtpLoss }) => [loss, mtpLoss!]);

  let alone: readonly number[];

  it("holds nothing of Node", () => {
    expect([...files.keys()].filter((name) => name.endsWith(".js")).length).toBeGreaterThan(2);
    for (const [name, text] of files)
      expect(text.includes("__vite-browser-external"), name).toBe(false);
  });

  it("runs on WebAssembly with one thread where the server sends no headers", async () => {
    const page = await open(withoutGpu, plain);
    expect(await page.evaluate(() => globalThis.crossOriginIsolated)).toBe(false);
    alone = lossesOf(await tryOut(page, "WebAssembly, one thread"));
    await page.close();
  });

  it("runs on WebAssembly with threads where it is isolated, to the same bits", async () => {
    const page = await open(withoutGpu, isolated);
    expect(await page.evaluate(() => globalThis.crossOriginIsolated)).toBe(true);
    const processors = Math.min(8, await page.evaluate(() => navigator.hardwareConcurrency));
    const device =
      processors > 1 ? `WebAssembly, ${processors} threads` : "WebAssembly, one thread";
    expect(lossesOf(await tryOut(page, device))).toEqual(alone);
    // The page's, and one for each thread.
    expect(page.workers().length).toBe(processors > 1 ? 1 + processors : 1);

    await page.click("#toggle");
    await page.waitForSelector("body[data-state=training]");
    await page.click("#reset");
    expect(await page.textContent("#toggle")).toBe("Start");
    expect(await page.textContent("#figure-loss")).toBe("–");
    await expectNoProblem(page);
    await page.close();
  });

  it("says in words what is wrong, and starts over", async () => {
    const page = await open(withoutGpu, isolated);
    const fail = async (message: RegExp): Promise<void> => {
      await page.click("#toggle");
      await page.waitForSelector("body[data-state=failed]");
      expect(await page.textContent("#error")).toMatch(message);
      await page.click("#reset");
      expect(await page.locator("#error").isVisible()).toBe(false);
    };
    await page.selectOption("#device", "gpu");
    await fail(/no graphics adapter.*use the WebAssembly backend/);
    await page.selectOption("#device", "wasm-1");
    await page.fill("#text", "Too short.");
    await fail(/the training text has 11 tokens.*Add text/);
    await page.fill("#text", "Long enough, and one's own. ".repeat(9));
    await page.click("#toggle");
    await page.waitForSelector("body[data-state=training]");
    await page.fill("#prompt", "");
    await page.click("#write");
    await page.waitForFunction(() => document.querySelector("#error")!.textContent !== "");
    expect(await page.textContent("#error")).toMatch(/the prompt has no tokens/);
    expect(await page.getAttribute("body", "data-state")).toBe("training");
    expect(problems).toEqual([]);
    await page.close();
  });

  it("runs on WebGPU, with the losses of WebAssembly within a thousandth", async () => {
    const page = await open(withGpu, isolated);
    const losses = lossesOf(await tryOut(page, "WebGPU"));
    losses.forEach((loss, i) =>
      expect(Math.abs(loss - alone[i]!), `loss ${i}`).toBeLessThan(1e-3 * alone[i]!),
    );
    await page.close();
  });
});
