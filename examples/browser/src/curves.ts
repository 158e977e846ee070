/**
 * What a training run shows of itself. In: one record per step. Out: figures and curves in the page, drawn a few times a second however
 * fast the steps come. The charts are those of the trainer's report.
 */
import { formatCount, type MetricsRecord, renderChart } from "@millrace/trainer";

import { element, showText } from "./elements.ts";

/** Milliseconds between two drawings. */
const pause = 200;
/** Steps whose median speed is shown. */
const lately = 15;

/** Everything that a run has measured, and its drawing. */
export class Curves {
  readonly #records: MetricsRecord[] = [];
  #waiting = false;
  #ended = false;

  get records(): readonly MetricsRecord[] {
    return this.#records;
  }

  add(record: MetricsRecord): void {
    this.#records.push(record);
    if (this.#waiting) return;
    this.#waiting = true;
    setTimeout(
      () => {
        this.#waiting = false;
        if (!this.#ended) this.#draw();
      },
      this.#records.length === 1 ? 0 : pause,
    );
  }

  /** Nothing is drawn any more, and what was drawn is taken away. */
  end(): void {
    this.#ended = true;
    for (const name of ["step", "loss", "bits", "mtp", "maxvio", "speed"])
      showText(`figure-${name}`, "–");
    element("curves", HTMLDivElement).replaceChildren();
  }

  #draw(): void {
    const last = this.#records.at(-1);
    if (!last) return;
    const speeds = this.#records.slice(-lately).map((record) => record.tokensPerSecond ?? 0);
    const median = speeds.toSorted((a, b) => a - b)[Math.floor(speeds.length / 2)] ?? 0;
    showText("figure-step", last.step.toLocaleString("en-US"));
    showText("figure-loss", last.loss.toFixed(3));
    // A token is a byte.
    showText("figure-bits", (last.loss / Math.LN2).toFixed(3));
    showText("figure-mtp", last.mtpLoss?.toFixed(3) ?? "–");
    showText("figure-maxvio", last.maxVio?.toFixed(2) ?? "–");
    showText("figure-speed", formatCount(median));
    const of = (
      value: (record: MetricsRecord) => number | undefined,
    ): (readonly [number, number])[] =>
      this.#records.map((record) => [record.step, value(record) ?? Number.NaN]);
    element("curves", HTMLDivElement).innerHTML = [
      renderChart(
        {
          title: "Loss",
          note: "Nats per byte, of the next byte and of the one after it; lower is better.",
          series: [
            { name: "next byte", points: of(({ loss }) => loss), smooth: true },
            { name: "MTP", points: of(({ mtpLoss }) => mtpLoss), smooth: true },
          ],
        },
        0,
      ),
      renderChart(
        {
          title: "MaxVio",
          note: "Load of the fullest expert above the mean, in the worst layer; 0 is even.",
          fromZero: true,
          series: [{ name: "MaxVio", points: of(({ maxVio }) => maxVio), smooth: true }],
        },
        1,
      ),
    ].join("");
  }
}
