/**
 * The page. In: what the user sets and presses. Out: orders to a worker that trains and writes, and its reports shown. A run has a
 * worker of its own: to start over is to end it, which frees all it had.
 */
import { formatCount } from "@millrace/trainer";

import type { DeviceChoice } from "./choose-device.ts";
import { Curves } from "./curves.ts";
import { element, showError, showText } from "./elements.ts";
import type { Order, Report } from "./messages.ts";
import { describeSize, type SizeName } from "./model-sizes.ts";
import { addPiece, beginText, endText } from "./written-text.ts";

type State = "idle" | "preparing" | "training" | "pausing" | "paused" | "failed";

const text = element("text", HTMLTextAreaElement);
const size = element("size", HTMLSelectElement);
const device = element("device", HTMLSelectElement);
const toggle = element("toggle", HTMLButtonElement);
const write = element("write", HTMLButtonElement);

let state: State = "idle";
let isWriting = false;
let draws = 0;
let curves = new Curves();
let worker: Worker | undefined;

const send = (order: Order): void => worker?.postMessage(order);

const toggleLabels: Record<State, string> = {
  idle: "Start",
  preparing: "Pause",
  training: "Pause",
  pausing: "Resume",
  paused: "Resume",
  failed: "Start",
};

/** Shows which buttons do what now. */
function show(next: State, status?: string): void {
  state = next;
  const isOn = state !== "idle" && state !== "failed";
  const canWrite = isOn && state !== "preparing";
  document.body.dataset["state"] = state;
  toggle.textContent = toggleLabels[state];
  toggle.disabled = state === "preparing" || state === "failed";
  element("settings", HTMLFieldSetElement).disabled = state !== "idle";
  element("reset", HTMLButtonElement).disabled = state === "idle";
  element("save", HTMLButtonElement).disabled = curves.records.length === 0;
  element("write-settings", HTMLFieldSetElement).disabled = !canWrite || isWriting;
  write.disabled = !canWrite;
  write.textContent = isWriting ? "Stop" : "Write";
  if (status !== undefined) showText("status", status);
}

function start(): void {
  showError(undefined);
  curves = new Curves();
  worker = new Worker(new URL("worker.ts", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }: MessageEvent<Report>) => take(data));
  worker.addEventListener("error", (event) =>
    fail(`The worker of the page cannot run: ${event.message || "its file could not be loaded"}.`),
  );
  const order: Order = {
    kind: "begin",
    device: device.value as DeviceChoice,
    size: size.value as SizeName,
    text: text.value,
    seed: 1,
  };
  send(order);
  show("preparing", "Starting …");
}

function reset(): void {
  worker?.terminate();
  worker = undefined;
  isWriting = false;
  curves.end();
  curves = new Curves();
  showError(undefined);
  showText("device-used", "");
  show("idle", "Ready.");
}

function fail(message: string): void {
  worker?.terminate();
  worker = undefined;
  isWriting = false;
  showError(message);
  show("failed", "Stopped.");
}

function take(report: Report): void {
  switch (report.kind) {
    case "device":
      showText("device-used", `Runs on ${report.name}: ${report.reason}.`);
      break;
    case "phase":
      showText("status", report.text);
      break;
    case "ready": {
      const { parameters, textBytes, kernels, seconds } = report;
      const model = `${formatCount(parameters)} parameters, ${formatCount(textBytes)} bytes of text`;
      show(
        "training",
        `${model}; a step has ${kernels} kernels, compiled in ${seconds.toFixed(1)} s.`,
      );
      break;
    }
    case "step":
      curves.add(report.record);
      if (curves.records.length === 1) show(state);
      break;
    case "paused":
      if (state === "pausing") show("paused", `Paused after step ${curves.records.length}.`);
      break;
    case "piece":
      addPiece(report.piece);
      break;
    case "written":
      isWriting = false;
      endText(report.result);
      show(state);
      break;
    case "failed":
      if (report.fatal) fail(report.message);
      else showError(report.message);
  }
}

element("setup", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  if (state === "idle") start();
  else if (state === "training") {
    send({ kind: "pause" });
    show("pausing", "Pausing …");
  } else {
    send({ kind: "resume" });
    show("training", "Training.");
  }
});

element("reset", HTMLButtonElement).addEventListener("click", reset);

element("save", HTMLButtonElement).addEventListener("click", () => {
  const lines = curves.records.map((record) => `${JSON.stringify(record)}\n`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
  link.download = "metrics.jsonl";
  link.click();
  URL.revokeObjectURL(link.href);
});

element("writing", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  if (isWriting) {
    send({ kind: "stopWriting" });
    return;
  }
  const prompt = element("prompt", HTMLInputElement).value;
  const options = {
    temperature: element("temperature", HTMLInputElement).valueAsNumber,
    speculative: element("speculative", HTMLInputElement).checked,
    maxTokens: element("length", HTMLInputElement).valueAsNumber,
    seed: draws++,
  };
  isWriting = true;
  showError(undefined);
  beginText(prompt);
  send({ kind: "write", prompt, options });
  show(state);
});

const temperature = element("temperature", HTMLInputElement);
temperature.addEventListener("input", () => showText("temperature-shown", temperature.value));

const showSize = (): void => {
  const bytes = new TextEncoder().encode(text.value).length;
  showText("text-size", `(${bytes.toLocaleString("en-US")} bytes; paste your own)`);
};
text.addEventListener("input", showSize);

for (const option of size.options) option.textContent = describeSize(option.value as SizeName);

/** An address such as `?device=wasm&size=small` says what is chosen. */
for (const [name, value] of new URLSearchParams(location.search))
  for (const select of [size, device])
    if (select.id === name && [...select.options].some((option) => option.value === value))
      select.value = value;

try {
  const answer = await fetch(new URL("default-text.txt", import.meta.url));
  // What the user wrote meanwhile stays.
  if (text.value === "") text.value = await answer.text();
} catch (error) {
  showError(`The text could not be loaded: ${(error as Error).message}. Paste one of your own.`);
}
showSize();
