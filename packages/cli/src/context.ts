/**
 * What commands are given besides their options. In: nothing. Out: the two streams a command may write to. Commands
 * never reach for the process itself, so tests can run them in place.
 */
import { CommanderError } from "commander";

/** A stream to write text to; `process.stdout` is one. */
export interface TextStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

export interface CliContext {
  /** Data: what a program reading our output wants. */
  readonly stdout: TextStream;
  /** Progress, warnings and errors: what a person wants. */
  readonly stderr: TextStream;
}

/** Ends a command with status 1 after it has printed its findings: a check that did not hold, not an error. */
export class CommandFailed extends CommanderError {
  constructor() {
    super(1, "millrace.failed", "");
  }
}
