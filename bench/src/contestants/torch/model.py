"""The trained models in PyTorch, by the names and rules of @millrace/model-v3 and @millrace/trainer.

In: a configuration and a batch. Out: a function that makes one optimizer step, and one that gives the first losses. Dense
multi-head attention, or latent attention and experts; f32, AdamW, clipping, the balance loss and the routers' bias.
"""
import math

import torch
import torch.nn.functional as F

from values import integers, seed_of, uniform

LEARNING_RATE = 1e-3
COMPARED_STEPS = 4
BIAS_UPDATE_SPEED = 0.001
LATENT_EPS = 1e-6


class Model:
    def __init__(self, config, tokens):
        self.config = config
        self.parameters = {}
        self.biases = {}
        self.loads = {}
        width = config["qkRopeHeadDim"]
        frequencies = 1.0 / config["ropeTheta"] ** (torch.arange(0, width, 2) / width)
        angles = torch.outer(torch.arange(tokens).float(), frequencies)
        self.rotation = torch.polar(torch.ones_like(angles), angles)
        self.mask = torch.ones(tokens, tokens, dtype=torch.bool).tril().logical_not()

    def parameter(self, name, *shape):
        """A parameter, made when it is first asked for; norms start at one."""
        known = self.parameters.get(name)
        if known is None:
            if len(shape) == 1:
                known = torch.ones(shape)
            else:
                scale = self.config["initializerRange"] * math.sqrt(3)
                values = uniform(seed_of(name), math.prod(shape), scale)
                known = torch.from_numpy(values).reshape(shape)
            self.parameters[name] = known.requires_grad_(True)
        return known

    def norm(self, name, x, eps):
        w = self.parameter(f"{name}.weight", x.shape[-1])
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * w

    def linear(self, name, x, width):
        return F.linear(x, self.parameter(f"{name}.weight", width, x.shape[-1]))

    def rotate(self, x):
        """Turns neighbouring elements of x [B, T, H, d]."""
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * self.rotation[:, None, :]).flatten(-2)

    def attend(self, q, k, v, scale):
        """Causal, all [B, T, H, d]."""
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        scores = torch.matmul(q * scale, k.transpose(-1, -2)).masked_fill(self.mask, -math.inf)
        return torch.matmul(torch.softmax(scores, -1), v).transpose(1, 2)

    def multi_head(self, name, x):
        c = self.config
        batch, tokens, _ = x.shape
        heads, width, rotated = c["numAttentionHeads"], c["qkNopeHeadDim"], c["qkRopeHeadDim"]

        def split(part, own):
            return self.linear(f"{name}.{part}_proj", x, heads * own).view(batch, tokens, heads, own)

        def turned(y):
            return torch.cat([y[..., : width - rotated], self.rotate(y[..., width - rotated :])], -1)

        q, k = turned(split("q", width)), turned(split("k", width))
        out = self.attend(q, k, split("v", c["vHeadDim"]), width**-0.5)
        return self.linear(f"{name}.o_proj", out.reshape(batch, tokens, -1), c["hiddenSize"])

    def latent(self, name, x):
        c = self.config
        batch, tokens, _ = x.shape
        heads, dn, dr = c["numAttentionHeads"], c["qkNopeHeadDim"], c["qkRopeHeadDim"]
        dv, rank = c["vHeadDim"], c["kvLoraRank"]
        low = self.norm(
            f"{name}.q_a_layernorm", self.linear(f"{name}.q_a_proj", x, c["qLoraRank"]), LATENT_EPS
        )
        q = self.linear(f"{name}.q_b_proj", low, heads * (dn + dr)).view(batch, tokens, heads, dn + dr)
        joined = self.linear(f"{name}.kv_a_proj_with_mqa", x, rank + dr)
        latent = self.norm(f"{name}.kv_a_layernorm", joined[..., :rank], LATENT_EPS)
        shared = self.rotate(joined[..., None, rank:]).expand(batch, tokens, heads, dr)
        kv = self.linear(f"{name}.kv_b_proj", latent, heads * (dn + dv))
        kv = kv.view(batch, tokens, heads, dn + dv)
        query = torch.cat([q[..., :dn], self.rotate(q[..., dn:])], -1)
        key = torch.cat([kv[..., :dn], shared], -1)
        out = self.attend(query, key, kv[..., dn:], (dn + dr) ** -0.5)
        return self.linear(f"{name}.o_proj", out.reshape(batch, tokens, -1), c["hiddenSize"])

    def feed_forward(self, name, x, width):
        gate = self.linear(f"{name}.gate_proj", x, width)
        up = self.linear(f"{name}.up_proj", x, width)
        return self.linear(f"{name}.down_proj", F.silu(gate) * up, x.shape[-1])

    def choose(self, name, scores):
        """Experts of each row of scores [N, E]: the best in the best groups, with the bias."""
        c = self.config
        experts, groups = c["nRoutedExperts"], c["nGroup"]
        bias = self.biases.setdefault(name, torch.zeros(experts))
        with torch.no_grad():
            choice = scores + bias
            if c["topkGroup"] < groups:
                grouped = choice.view(-1, groups, experts // groups)
                rating = grouped.topk(2, -1).values.sum(-1)
                best = rating.topk(c["topkGroup"], -1).indices
                dropped = torch.ones_like(rating, dtype=torch.bool).scatter_(1, best, False)
                choice = grouped.masked_fill(dropped[..., None], -math.inf).view(-1, experts)
            return choice.topk(c["numExpertsPerTok"], -1).indices

    def balance(self, scores, sequences):
        c = self.config
        experts, k = c["nRoutedExperts"], c["numExpertsPerTok"]
        tokens = scores.shape[0] // sequences
        with torch.no_grad():
            chosen = scores.topk(k, -1).indices.view(sequences, -1)
            counts = torch.stack([row.bincount(minlength=experts) for row in chosen])
            share = counts * (experts / (k * tokens))
        p = (scores / scores.sum(-1, keepdim=True)).view(sequences, tokens, experts).mean(1)
        return (share * p).sum(-1).mean() * c["auxLossAlpha"]

    def mixture(self, name, x, sequences):
        """x [N, D]; rows sorted by expert, one product per expert."""
        c = self.config
        experts, k, width = c["nRoutedExperts"], c["numExpertsPerTok"], c["moeIntermediateSize"]
        rows, hidden = x.shape
        scores = torch.sigmoid(self.linear(f"{name}.gate", x, experts))
        indices = self.choose(name, scores)
        weights = scores.gather(1, indices)
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) * c["routedScalingFactor"]
        flat = indices.flatten()
        order = flat.argsort(stable=True)
        load = flat.bincount(minlength=experts)
        self.loads[name] = load
        token = order // k

        def stack(part, out, inner):
            return self.parameter(f"{name}.experts.*.{part}_proj.weight", experts, out, inner)

        gates, ups = stack("gate", width, hidden), stack("up", width, hidden)
        downs = stack("down", hidden, width)
        results = []
        for e, own in enumerate(x[token].split(load.tolist())):
            if own.shape[0] > 0:
                gated = F.silu(F.linear(own, gates[e])) * F.linear(own, ups[e])
                results.append(F.linear(gated, downs[e]))
        scaled = torch.cat(results) * weights.flatten()[order][:, None]
        out = torch.zeros(rows, hidden).index_add(0, token, scaled)
        if c["nSharedExperts"] > 0:
            shared = c["nSharedExperts"] * width
            out = out + self.feed_forward(f"{name}.shared_experts", x, shared)
        return out, self.balance(scores, sequences)

    def loss(self, ids):
        """Mean cross-entropy of tokens [B, T + 1], and what balances the experts."""
        c = self.config
        inputs, labels = ids[:, :-1], ids[:, 1:]
        batch, tokens = inputs.shape
        hidden, eps = c["hiddenSize"], c["rmsNormEps"]
        embedding = self.parameter("model.embed_tokens.weight", c["vocabSize"], hidden)
        x = F.embedding(inputs, embedding)
        balance = 0.0
        for i in range(c["numHiddenLayers"]):
            name = f"model.layers.{i}"
            y = self.norm(f"{name}.input_layernorm", x, eps)
            attention = self.latent if c["attention"] == "mla" else self.multi_head
            x = x + attention(f"{name}.self_attn", y)
            z = self.norm(f"{name}.post_attention_layernorm", x, eps)
            if c["nRoutedExperts"] > 0 and i >= c["firstKDenseReplace"]:
                flat, part = self.mixture(f"{name}.mlp", z.reshape(-1, hidden), batch)
                x = x + flat.view(batch, tokens, hidden)
                balance = balance + part
            else:
                x = x + self.feed_forward(f"{name}.mlp", z, c["intermediateSize"])
        logits = self.linear("lm_head", self.norm("model.norm", x, eps), c["vocabSize"])
        return F.cross_entropy(logits.reshape(-1, c["vocabSize"]), labels.reshape(-1)) + balance

    def move_biases(self):
        with torch.no_grad():
            for name, bias in self.biases.items():
                load = self.loads[name].float()
                bias += BIAS_UPDATE_SPEED * torch.sign(load.mean() - load)


def prepare_train(task):
    config, batch, tokens = task["config"], task["batch"], task["tokens"]
    model = Model(config, tokens)
    rows = integers(seed_of("tokens"), batch * (tokens + 1), config["vocabSize"])
    ids = torch.from_numpy(rows).view(batch, tokens + 1)
    with torch.no_grad():
        # Makes all parameters, so that the optimizer knows them.
        model.loss(ids)
    parameters = list(model.parameters.values())
    options = {"lr": LEARNING_RATE, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    optimizer = torch.optim.AdamW(parameters, foreach=True, **options)
    losses = []

    def run():
        optimizer.zero_grad(set_to_none=True)
        loss = model.loss(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        model.move_biases()
        if len(losses) < COMPARED_STEPS:
            losses.append(loss.item())

    def result():
        while len(losses) < COMPARED_STEPS:
            run()
        return torch.tensor(losses)

    return run, result
