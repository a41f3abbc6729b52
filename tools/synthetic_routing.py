"""Routers and attention made by hand so that random weights choose experts with a published locality.

How the repeat rates of consecutive tokens are reached. The residual stream has parts of its own (DIMS) that only the routers read:

  token     random numbers of each token id, from its embedding row: nothing that neighbours share
  context   written by the first layer's attention: a running mean over the last dozen tokens' `token` part. Its heads know distances
            alone: queries and keys are constants (a part of each embedding row that is the same for all), so a score is a sum of
            cos(w distance) over RoPE's slow frequencies w, and a mean by it is flat over the last few tokens and fades as a power
  spikes    a few token ids have a large number in one of 16 dimensions here
  held      those, brought by the first layer's attention to the tokens that follow: for as long as one stays in the running mean
  previous  written by the first layer's attention: a copy of the last token's first dimensions, by a head turned by one position
  novel     written by each layer's attention just before its router: a copy of other `token` dimensions, by a head that attends
            to its own token. It is what a guess by this router on the layer before cannot know

A layer's router adds, with weights whose squares sum to one, its own random mix of token, context and novel. The weight of context makes
both ranks repeat; `held` moves one expert to the top wherever a spike is near, which makes first choices repeat and little else; the same
mix of a token and, taken away from it, of the one before makes all repeat less. (Mixtral's last layer repeats first choices nearly
twice as often as chance and pairs hardly more.) These are fitted per layer to TARGETS by computing the choices of a text and of random
ids (the rest of the network writes next to nothing into these parts). Normalisation scales all logits of a token alike and so changes no
choice. Rates of a short piece scatter: those of the last layer hang on a few spikes, by some 4 points in 500 tokens.
"""

import numpy as np

WIDTH, VOCAB, EXPERTS, HEAD = 4096, 32000, 8, 128
NUM_SPIKES, NOVEL = 16, 32
DIMS = {
    "token": slice(0, 1024),
    "context": slice(1024, 1664),  # of the first 640 of token
    "spikes": slice(1664, 1664 + NUM_SPIKES),
    "held": slice(1696, 1696 + NUM_SPIKES),
    "previous": slice(1728, 1856),  # the first 128 of token
    "novel": slice(1856, 2880),  # NOVEL for each layer
    "constant": slice(4064, 4096),
}
AVERAGED, COPIED = 640, 128
# Percent of tokens whose first choice, and any of whose two choices, repeats: means of the Mixtral paper's table (arXiv 2401.04088,
# section 5) over its eight domains. Layers between get what lies between.
TARGETS = {0: (14.1, 48.0), 15: (26.4, 63.7), 31: (22.7, 50.9)}
NOVEL_SHARE = 0.08  # of a router's variance: the layer before foresees about 83 % of the chosen experts
SPIKE_SIZE = 8.0
SPIKE_SHARE = 0.018  # of all tokens, for all spikes together
COMMON = 0.008  # share of a text from which on an id counts as common
BONUS = 7.0  # of a spike at its nearest, in deviations of the other parts
FLAT, FADE = 9.0, 3.5  # tokens over which the running mean is flat; power with which it fades
SHARP = 100.0  # heads of one position: the next has e^-11 of its weight
CONSTANT_RMS = ((1024 + 32) / WIDTH) ** 0.5  # of an embedding row


def state_rms(layer):
    """Of the residual stream in front of a layer's attention."""
    written = AVERAGED + COPIED + NOVEL * layer if layer > 0 else 0
    return (CONSTANT_RMS**2 + written / WIDTH) ** 0.5


def frequencies():
    """RoPE's, of a head's pairs."""
    return 1e6 ** (-np.arange(HEAD // 2) / (HEAD // 2))


def query_key_scale(kind):
    """Square of what each pair's query and key are: for the running mean the slow pairs, for heads of one position the fast ones."""
    w = frequencies()
    if kind == "one":
        return np.where(np.arange(HEAD // 2) < 8, SHARP, 0.0)
    pairs_per_e = (HEAD // 2) / np.log(1e6)
    return np.where(w <= 1 / FLAT, FADE * HEAD**0.5 / pairs_per_e, 0.0)


def kernel(length=400):
    """Weights of the running mean by distance."""
    scores = np.cos(np.outer(np.arange(length), frequencies())) @ query_key_scale("mean") / HEAD**0.5
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def running_mean(x):
    """x: [tokens, n]. Stationary: the text is long beside the kernel."""
    k = kernel()
    size = 1 << int(np.ceil(np.log2(len(x) + len(k))))
    return np.fft.irfft(np.fft.rfft(x, size, axis=0) * np.fft.rfft(k, size)[:, None], size, axis=0)[: len(x)].astype(np.float32)


def spread():
    """Deviation of a running mean of independent numbers of deviation one."""
    return float(np.sqrt((kernel() ** 2).sum()))


def held_gain():
    """From the running mean of a spike to what is added to its expert's logit."""
    return BONUS / (SPIKE_SIZE * float(kernel()[0]))


def embedding(rng, text_ids):
    """[VOCAB, WIDTH]. Spikes go to ids that have the same share of the text as of all ids: rare ones, of which as many occur in it."""
    rows = np.zeros((VOCAB, WIDTH), np.float32)
    rows[:, DIMS["token"]] = rng.standard_normal((VOCAB, 1024))
    rows[:, DIMS["constant"]] = 1
    counts = np.bincount(text_ids, minlength=VOCAB)
    pieces = rng.permutation(np.arange(259, VOCAB))
    once, never = pieces[counts[pieces] == 1], pieces[counts[pieces] == 0]
    per_spike = round(VOCAB * SPIKE_SHARE / NUM_SPIKES)
    wanted = min(per_spike, round(len(text_ids) * SPIKE_SHARE / NUM_SPIKES))
    for s in range(NUM_SPIKES):
        chosen = np.concatenate([once[s * wanted :][:wanted], never[s * per_spike :][: per_spike - wanted]])
        rows[chosen, DIMS["spikes"].start + s] = SPIKE_SIZE
    # What a running mean has of the commonest ids would never change: they put more into the dimensions that are not averaged.
    share = np.minimum(1, COMMON / np.maximum(counts / len(text_ids), 1e-9))[:, None]
    rows[:, :AVERAGED] *= share**0.5
    rows[:, AVERAGED:1024] *= (1 + (1 - share) * AVERAGED / (1024 - AVERAGED)) ** 0.5
    # Of one length, or the constants in keys would differ after normalisation, and with them the weights of the running mean.
    token = rows[:, DIMS["token"]]
    others = np.square(rows).sum(1) - np.square(token).sum(1)
    token *= np.sqrt((WIDTH * CONSTANT_RMS**2 - others) / np.square(token).sum(1))[:, None]
    return rows


def novel_source(layer):
    """Which dimensions of token a layer's attention copies."""
    return np.random.default_rng(1000 + layer).permutation(np.arange(AVERAGED, 1024))[:NOVEL]


def orthonormal(rng, cols):
    """[EXPERTS, cols]"""
    return np.linalg.qr(rng.standard_normal((cols, EXPERTS)))[0].T


class LayerRouter:
    """One layer's router: random directions, and the weights that are fitted."""

    def __init__(self, layer):
        rng = np.random.default_rng(2000 + layer)
        self.layer = layer
        self.token, self.context = orthonormal(rng, 1024), orthonormal(rng, AVERAGED)
        self.novel = orthonormal(rng, NOVEL)
        self.expert_of_spike = rng.permutation(np.arange(NUM_SPIKES) % EXPERTS)
        self.change = orthonormal(rng, COPIED)
        self.context_weight, self.change_weight, self.num_spikes = 0.0, 0.0, 0
        self.rates = None  # [streams, 2], as fitted

    def token_weight(self):
        return (1 - NOVEL_SHARE - self.context_weight**2 - 2 * self.change_weight**2) ** 0.5

    def matrix(self, scale):
        """[EXPERTS, WIDTH]; scale: all logits' deviation on a normalised state, about."""
        out = np.zeros((EXPERTS, WIDTH), np.float32)
        out[:, DIMS["token"]] = self.token * self.token_weight()
        out[:, :COPIED] += self.change * self.change_weight
        out[:, DIMS["previous"]] = -self.change * self.change_weight
        out[:, DIMS["context"]] = self.context * self.context_weight
        begin = DIMS["novel"].start + NOVEL * self.layer
        out[:, begin : begin + NOVEL] = self.novel * NOVEL_SHARE**0.5
        for s in range(self.num_spikes):
            out[self.expert_of_spike[s], DIMS["held"].start + s] = 1
        return out * (scale * CONSTANT_RMS)


def choices(logits):
    """The two best, the best first: [tokens, 2]."""
    first = logits.argmax(1)
    rest = logits.copy()
    rest[np.arange(len(rest)), first] = -np.inf
    return np.stack([first, rest.argmax(1)], 1)


def repeat_rates(chosen):
    """Percent of tokens whose first choice repeats at the next, and of those that share any choice with it."""
    a, b = chosen[:-1], chosen[1:]
    first = (a[:, 0] == b[:, 0]).mean()
    either = (a[:, :, None] == b[:, None, :]).any((1, 2)).mean()
    return 100 * float(first), 100 * float(either)


def target(layer):
    layers = sorted(TARGETS)
    return tuple(float(np.interp(layer, layers, [TARGETS[i][rank] for i in layers])) for rank in (0, 1))


class Stream:
    """What the routers of all layers read of a sequence of ids."""

    def __init__(self, rows, ids):
        x = rows[ids]
        self.token = x[:, DIMS["token"]]
        self.context = running_mean(self.token[:, :AVERAGED]) / spread()
        self.change = self.token[:, :COPIED] - np.roll(self.token[:, :COPIED], 1, axis=0)
        held = running_mean(x[:, DIMS["spikes"]])
        self.held = held * held_gain()

    def parts(self, router):
        """Logits [tokens, EXPERTS] of a router's token, context, change and novel, each with weight one."""
        novel = self.token[:, novel_source(router.layer)]
        return self.token @ router.token.T, self.context @ router.context.T, self.change @ router.change.T, novel @ router.novel.T

    def rates(self, router, parts):
        weights = router.token_weight(), router.context_weight, router.change_weight, NOVEL_SHARE**0.5
        logits = sum(part * np.float32(weight) for part, weight in zip(parts, weights))
        for s in range(router.num_spikes):
            logits[:, router.expert_of_spike[s]] += self.held[:, s]
        return repeat_rates(choices(logits))


def fit(layer, streams):
    """The layer's router, with the weights that come nearest to both rates on all streams together."""
    router, best = LayerRouter(layer), (np.inf,)
    parts = [stream.parts(router) for stream in streams]
    wanted = np.array(target(layer))

    def look(num_spikes, context_weight, change_weight):
        nonlocal best
        router.num_spikes, router.context_weight, router.change_weight = num_spikes, context_weight, change_weight
        rates = np.array([s.rates(router, p) for s, p in zip(streams, parts)])
        error = rates.mean(0) - wanted
        if np.abs(error).max() < best[0]:
            best = np.abs(error).max(), num_spikes, context_weight, change_weight, rates
        return error.sum()

    for num_spikes in range(NUM_SPIKES + 1):
        low, high = 0.0, 0.8
        if look(num_spikes, 0.0, 0.0) > 0:
            for weight in (0.15, 0.22, 0.27, 0.32, 0.37, 0.42):
                look(num_spikes, 0.0, weight)
            continue
        for _ in range(6):
            middle = (low + high) / 2
            low, high = (low, middle) if look(num_spikes, middle, 0.0) > 0 else (middle, high)
    _, router.num_spikes, router.context_weight, router.change_weight, router.rates = best
    return router
