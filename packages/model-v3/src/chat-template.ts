/**
 * Conversations to prompts. In: the Jinja template of a `tokenizer_config.json` and messages. Out: the text
 * to encode. A thin layer over @huggingface/jinja whose errors name the template.
 */
import { Template } from "@huggingface/jinja";
import { CheckpointError } from "@millrace/graph";

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface ChatTemplate {
  /** Renders the messages, followed by the start of an answer unless told otherwise. */
  render(messages: readonly ChatMessage[], addGenerationPrompt?: boolean): string;
}

function tokenText(token: unknown): string {
  if (typeof token === "string") return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === "string" ? content : "";
}

/** The chat template of a parsed `tokenizer_config.json`; undefined when it has none. */
export function parseChatTemplate(config: unknown, where: string): ChatTemplate | undefined {
  const values = (config ?? {}) as Record<string, unknown>;
  const text = values["chat_template"];
  if (text === undefined || text === null) return undefined;
  const failed = (what: string, cause?: unknown): CheckpointError =>
    new CheckpointError({
      what: cause === undefined ? what : `${what} (${(cause as Error).message})`,
      where: `${where}, chat_template`,
      hint: "Correct the template, or pass a prompt without it.",
      cause,
    });
  if (typeof text !== "string") throw failed("the chat template is not a string");
  const guarded = <T>(what: string, action: () => T): T => {
    try {
      return action();
    } catch (cause) {
      throw failed(what, cause);
    }
  };
  const template = guarded("the chat template does not parse", () => new Template(text));
  return {
    render(messages, addGenerationPrompt = true) {
      return guarded("the chat template fails on these messages", () =>
        template.render({
          messages,
          add_generation_prompt: addGenerationPrompt,
          bos_token: tokenText(values["bos_token"]),
          eos_token: tokenText(values["eos_token"]),
        }),
      );
    },
  };
}
