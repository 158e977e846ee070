import { CheckpointError } from "@millrace/graph";
import { expect, test } from "vitest";
import { parseChatTemplate } from "./chat-template.ts";

const config = {
  bos_token: { content: "<s>" },
  eos_token: "</s>",
  chat_template:
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{{ eos_token }}" +
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
};
const messages = [
  { role: "user", content: "Hi" },
  { role: "assistant", content: "Hello" },
];

test("messages are rendered with the special tokens of the tokenizer", () => {
  const template = parseChatTemplate(config, "tokenizer_config.json");
  expect(template?.render(messages)).toBe("<s>[user]Hi</s>[assistant]Hello</s>[assistant]");
  expect(template?.render(messages, false)).toBe("<s>[user]Hi</s>[assistant]Hello</s>");
});

test("no template is no error; a broken one names its file", () => {
  expect(parseChatTemplate({}, "c")).toBeUndefined();
  expect(parseChatTemplate(undefined, "c")).toBeUndefined();
  for (const chat_template of [3, "{% for %}", "{{ 'x' "])
    expect(() => parseChatTemplate({ chat_template }, "c.json")).toThrow(CheckpointError);
  const raising = parseChatTemplate({ chat_template: "{{ raise_exception('no') }}" }, "c.json");
  expect(() => raising?.render(messages)).toThrow(/c\.json, chat_template/);
});
