/**
 * Every error of the project. In: what went wrong, where, and the remedy. Out: one sentence in the order
 * what, where, remedy, with a stable `code`. Nothing else in the repository throws a bare `Error`.
 */

export interface ErrorDetails {
  /** What happened, with got and expected values. No full stop at the end. */
  readonly what: string;
  /** Op, file, tensor, or scope path such as `layers.3.self_attn.q_a_proj`. */
  readonly where?: string | undefined;
  /** What to do about it, an imperative sentence. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/** Base of all errors thrown on purpose; `code` is stable, the text is not. */
export abstract class MillraceError extends Error {
  abstract readonly code: string;

  readonly details: ErrorDetails;

  constructor(details: ErrorDetails) {
    const { what, where, hint, cause } = details;
    const place = where ? ` at ${where}` : "";
    super(`${what}${place}.${hint ? ` ${hint}` : ""}`, cause === undefined ? {} : { cause });
    this.name = new.target.name;
    this.details = details;
  }

  /** The same error with the place known better. */
  at(where: string): this {
    const Class = this.constructor as new (details: ErrorDetails) => this;
    return new Class({ ...this.details, where, cause: this.details.cause ?? this });
  }
}

/** Shapes that do not fit each other or the op. */
export class ShapeError extends MillraceError {
  readonly code = "shape";
}

/** A dtype the op, or this position, does not take. */
export class DTypeError extends MillraceError {
  readonly code = "dtype";
}

/** An op's attribute or a function's option out of its domain. */
export class AttributeError extends MillraceError {
  readonly code = "attribute";
}

/** Values given at run time that the program cannot take: token ids, lengths, missing inputs. */
export class InputError extends MillraceError {
  readonly code = "input";
}

/** Legal in the IR, but not on this backend or in this version. */
export class UnsupportedError extends MillraceError {
  readonly code = "unsupported";
}

/** A checkpoint, configuration, tokenizer or data file that cannot be used as it is. */
export class CheckpointError extends MillraceError {
  readonly code = "checkpoint";
}

/** The device failed: out of memory, lost, or it refused a program. */
export class DeviceError extends MillraceError {
  readonly code = "device";
}

/** A bug of ours. */
export class InternalError extends MillraceError {
  readonly code = "internal";

  constructor(details: ErrorDetails) {
    super({ ...details, what: `internal: ${details.what.replace(/^internal: /, "")}` });
  }
}
