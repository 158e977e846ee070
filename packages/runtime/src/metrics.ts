/**
 * What a generation counts. In: its events. Out: tokens per second and drafts, whole or as they stand. Prefill ends with
 * the first token; decoding is what the rounds after it take, without the time that the reader of the tokens takes.
 */

/** Counts and speeds of one generation. */
export interface GenerationMetrics {
  /** Tokens proposed by the MTP module. */
  readonly drafted: number;
  /** Drafts among the generated tokens. */
  readonly accepted: number;
  /** After prefill: each gives one token and the drafts it accepts. */
  readonly rounds: number;
  readonly prefillTokensPerSecond: number;
  /** 0 when there was no token after the first. */
  readonly decodeTokensPerSecond: number;
}

/** Gathers the metrics of one generation; `now` gives milliseconds. */
export class MetricsRecorder {
  readonly #now: () => number;
  #roundStarted: number;
  #prefillTime = 0;
  #decodeTime = 0;
  #promptTokens = 0;
  #decodedTokens = 0;
  #drafted = 0;
  #accepted = 0;
  #rounds = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#roundStarted = now();
  }

  /** The prompt is in the cache and the first token chosen. */
  prefilled(promptTokens: number): void {
    this.#promptTokens = promptTokens;
    this.#prefillTime = this.#now() - this.#roundStarted;
  }

  /** A round begins. */
  roundStarts(): void {
    this.#roundStarted = this.#now();
  }

  /** The round gave `tokens` tokens, `accepted` of them drafts. */
  decoded(tokens: number, drafted: number, accepted: number): void {
    this.#decodeTime += this.#now() - this.#roundStarted;
    this.#rounds++;
    this.#decodedTokens += tokens;
    this.#drafted += drafted;
    this.#accepted += accepted;
  }

  get metrics(): GenerationMetrics {
    return {
      drafted: this.#drafted,
      accepted: this.#accepted,
      rounds: this.#rounds,
      prefillTokensPerSecond: perSecond(this.#promptTokens, this.#prefillTime),
      decodeTokensPerSecond: perSecond(this.#decodedTokens, this.#decodeTime),
    };
  }
}

/** Clocks may be coarse; a whole microsecond is the least that is divided by. */
function perSecond(count: number, milliseconds: number): number {
  return count === 0 ? 0 : count / (Math.max(milliseconds, 1e-3) / 1000);
}
