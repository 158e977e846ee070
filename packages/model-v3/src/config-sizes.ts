/**
 * Sizes that contradict each other. In: a configuration whose values are each valid. Out: nothing, or a
 * CheckpointError that names the keys by their names in `config.json`. One rule, one line of the table.
 */
import { CheckpointError } from "@millrace/graph";
import type { ModelConfig } from "./config.ts";

interface Rule {
  readonly broken: boolean;
  readonly what: string;
  readonly hint: string;
}

function rules(config: ModelConfig): Rule[] {
  const { nRoutedExperts: e, numExpertsPerTok: k, nGroup, topkGroup } = config;
  const perGroup = e / nGroup;
  const isGrouped = config.topkMethod !== "greedy";
  const all: Rule[] = [
    {
      broken: config.firstKDenseReplace > config.numHiddenLayers,
      what: `first_k_dense_replace is ${config.firstKDenseReplace}, but num_hidden_layers ${config.numHiddenLayers}`,
      hint: "Set first_k_dense_replace to at most num_hidden_layers.",
    },
    {
      broken: config.qkRopeHeadDim % 2 !== 0,
      what: `qk_rope_head_dim is ${config.qkRopeHeadDim}, but rotation works on pairs`,
      hint: "Set qk_rope_head_dim to an even number.",
    },
    {
      broken: config.vocabSize <= Math.max(config.bosTokenId ?? 0, config.eosTokenId ?? 0),
      what: `vocab_size is ${config.vocabSize}, but bos_token_id ${config.bosTokenId} and eos_token_id ${config.eosTokenId}`,
      hint: "Set the ids below vocab_size, or to null.",
    },
    {
      broken:
        config.attention === "gqa" && config.numAttentionHeads % config.numKeyValueHeads !== 0,
      what: `num_key_value_heads is ${config.numKeyValueHeads}, which does not divide num_attention_heads ${config.numAttentionHeads}`,
      hint: "Set num_key_value_heads to a divisor of num_attention_heads.",
    },
    {
      broken: config.attention !== "mla" && config.qkRopeHeadDim > config.qkNopeHeadDim,
      what: `qk_rope_head_dim is ${config.qkRopeHeadDim}, but the whole head of ${config.attention} has qk_nope_head_dim ${config.qkNopeHeadDim}`,
      hint: "Set qk_rope_head_dim to at most qk_nope_head_dim.",
    },
  ];
  if (e === 0) return all;
  all.push(
    {
      broken: k < 1 || k > e,
      what: `num_experts_per_tok is ${k}, but n_routed_experts ${e}`,
      hint: "Set num_experts_per_tok to at least 1 and at most n_routed_experts.",
    },
    {
      broken: config.balance === "loss_free" && config.topkMethod !== "noaux_tc",
      what: `millrace.balance is loss_free, but topk_method ${config.topkMethod} has no router bias`,
      hint: 'Set topk_method to "noaux_tc", or balance to "auxiliary".',
    },
  );
  if (!isGrouped) return all;
  all.push(
    {
      broken: !Number.isInteger(perGroup),
      what: `n_group is ${nGroup}, which does not divide n_routed_experts ${e}`,
      hint: "Set n_group to a divisor of n_routed_experts.",
    },
    {
      broken: topkGroup > nGroup,
      what: `topk_group is ${topkGroup}, but n_group ${nGroup}`,
      hint: "Set topk_group to at most n_group.",
    },
    {
      broken: topkGroup * perGroup < k,
      what: `topk_group is ${topkGroup} of ${perGroup} experts each, fewer than num_experts_per_tok ${k}`,
      hint: "Raise topk_group or lower num_experts_per_tok.",
    },
    {
      broken: config.topkMethod === "noaux_tc" && nGroup > 1 && perGroup < 2,
      what: `n_group is ${nGroup}, but noaux_tc scores a group by its two best of ${perGroup} experts`,
      hint: "Lower n_group so that a group has two experts.",
    },
  );
  return all;
}

/** Throws for the first rule that the configuration breaks. */
export function checkSizes(config: ModelConfig, where: string): void {
  const found = rules(config).find((rule) => rule.broken);
  if (found) throw new CheckpointError({ what: found.what, where, hint: found.hint });
}
