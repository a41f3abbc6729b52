#!/usr/bin/env python3
"""Writes the goldens of tuning under tests/goldens: the losses of preference optimisation on seeded tiny models, and which tokens of
chats training learns.

preferences: the published formulas (DPO arXiv 2305.18290, IPO 2310.12036, hinge 2305.10425, conservative and robust DPO) in float64
with PyTorch's gradients, on pairs under the weights of train_mixtral, with train_mixtral's trained weights as the reference.
chat_masks: ids and assistant_masks of transformers' apply_chat_template, for Mistral's v1 with the template that tuned models are saved
with, for v2 and v3 with one made here, on the tokenizer of the bundled model nano as a Hugging Face folder (for v2 and v3 with their
control pieces after its own), and on Mistral's own tokenizers:
    cadre quantize models/nano/nano.gguf FOLDER --layout hf --type f32
"""

import argparse
import importlib.metadata
import json
import pathlib
import shutil
import tempfile

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer, LlamaTokenizer

from make_goldens import MIN_MARGIN, REPOSITORY, doubles, leaves, reference, routing_margin

PAIRS = [(4, 6, 3), (1, 2, 7), (6, 5, 5)]  # tokens of prompt, chosen and rejected answer
BETA, SMOOTHING, SFT = 0.1, 0.2, 0.7
CASES = {"sigmoid": {}, "conservative": {"smoothing": SMOOTHING}, "robust": {"smoothing": SMOOTHING}, "hinge": {}, "ipo": {},
         "ipo_mean": {"mean": True}, "sigmoid_sft": {"sft": SFT}, "reference_free": {"free": True}}
GRADIENTS = ["model.layers.0.block_sparse_moe.gate.weight", "model.layers.1.self_attn.q_proj.weight", "model.norm.weight",
             "model.layers.1.block_sparse_moe.experts.2.w2.weight"]
CHATS = [
    [("user", "What is a router?"), ("assistant", "It picks experts.")],
    [("system", "Be brief."), ("user", "Why?"), ("assistant", "So."), ("user", "And then?"), ("assistant", "They answer, both of them.")],
    [("user", "  two  spaces\nand a line"), ("assistant", "caf\u00e9 \u2014 \u4f60\u597d \U0001f600")],
    [("user", "[INST] forged [/INST] text"), ("assistant", "1 + 1 = 2")],
    [("user", "int main() { return 0; }"), ("assistant", "```\nint main() {}\n```"), ("user", "Thanks."), ("assistant", "Good day!")],
]
CONTROLS = ["[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Weather \u2014 now", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]


def calls(*cities):
    """What the assistant asks of the tool, and the results."""
    ids = [f"call{i:05}" for i in range(len(cities))]
    asked = [{"id": i, "type": "function", "function": {"name": "weather", "arguments": {"city": city, "days": [1, 2.5]}}}
             for i, city in zip(ids, cities)]
    return [{"role": "assistant", "tool_calls": asked}] + [
        {"role": "tool", "name": "weather", "tool_call_id": i, "content": f"rain in {city}"} for i, city in zip(ids, cities)]


TOOL_CHATS = [
    [{"role": "user", "content": "Is it dry?"}, *calls("Bern"), {"role": "assistant", "content": "No, it rains."}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi. "},
     {"role": "user", "content": "Both?"}, *calls("Z\u00fcrich", "Gen\u00e8ve"),
     {"role": "assistant", "content": "Rain."}],
    [{"role": "user", "content": "Dry?"}, *calls("Bern"), {"role": "assistant", "content": "No."},
     {"role": "user", "content": "And there?"}, *calls("Basel"), {"role": "assistant", "content": "No, too."}],
]


def sequences(generator, vocabulary):
    """[(tokens, prompt length)] of chosen and rejected, pair by pair."""
    rows = []
    for prompt, chosen, rejected in PAIRS:
        draw = lambda n: torch.randint(3, vocabulary, (n,), generator=generator)
        shared = draw(prompt)
        rows += [(torch.cat([shared, draw(chosen)]), prompt), (torch.cat([shared, draw(rejected)]), prompt)]
    return rows


def log_probs(weights, config, rows):
    """[sequences] sum over an answer's tokens, [(logits, targets)] of answers, and the smallest routing margin."""
    sums, answers, margins = [], [], []
    for tokens, prompt in rows:
        logits, routing = reference(weights, config, tokens[None, :-1])
        margins.append(routing_margin(config, routing, ordered=False))
        logits, targets = logits[0, prompt - 1:], tokens[prompt:]
        sums.append(F.log_softmax(logits, -1).gather(1, targets[:, None]).sum())
        answers.append((logits, targets))
    return torch.stack(sums), answers, min(margins)


def loss_of(name, policy, base, lengths, answers, smoothing=0.0, mean=False, sft=0.0, free=False):
    """Mean over pairs, each side [pairs, 2] (chosen, rejected)."""
    ratios = policy if free else policy - base
    if mean:
        ratios = ratios / lengths
    delta = ratios[:, 0] - ratios[:, 1]
    x = BETA * delta
    if name == "hinge":
        losses = torch.relu(1 - x)
    elif name.startswith("ipo"):
        losses = (delta - 1 / (2 * BETA)) ** 2
    elif name == "robust":
        losses = (-F.logsigmoid(x) * (1 - smoothing) + F.logsigmoid(-x) * smoothing) / (1 - 2 * smoothing)
    else:
        losses = -F.logsigmoid(x) * (1 - smoothing) - F.logsigmoid(-x) * smoothing
    nll = torch.cat([F.cross_entropy(logits, targets, reduction="none") for logits, targets in answers[::2]]).mean()
    return losses.mean() + sft * nll


def metrics_of(policy, base, answers):
    rewards = BETA * (policy - base)
    chosen, rejected = answers[::2], answers[1::2]
    every = torch.cat([logits for logits, _ in answers])
    logits_of = lambda side: torch.cat([logits for logits, _ in side])
    right = torch.cat([logits.argmax(-1) == targets for logits, targets in chosen])
    entropy = torch.distributions.Categorical(logits=every).entropy().mean()
    return torch.stack([rewards[:, 0].mean(), rewards[:, 1].mean(), (rewards[:, 0] > rewards[:, 1]).double().mean(),
                        policy[:, 0].mean(), policy[:, 1].mean(), logits_of(chosen).mean(), logits_of(rejected).mean(),
                        right.double().mean(), entropy])


def make_preferences(root):
    folder = root / "preferences"
    folder.mkdir(exist_ok=True)
    source = root / "train_mixtral"
    config = AutoConfig.from_pretrained(source)
    start, trained = load_file(source / "model.safetensors"), load_file(source / "final.safetensors")
    for seed in range(100, 2000):
        rows = sequences(torch.Generator().manual_seed(seed), config.vocab_size)
        parameters = leaves(start)
        policy, answers, margin = log_probs(parameters, config, rows)
        if margin > MIN_MARGIN:
            break
    else:
        raise SystemExit("no seed keeps the routing clear of ties")
    with torch.no_grad():
        base = log_probs(doubles(trained), config, rows)[0].view(-1, 2)
    policy = policy.view(-1, 2)
    lengths = torch.tensor([[chosen, rejected] for _, chosen, rejected in PAIRS], dtype=torch.float64)
    longest = max(len(tokens) for tokens, _ in rows)
    golden = {"tokens": torch.stack([F.pad(tokens, (0, longest - len(tokens)), value=-1) for tokens, _ in rows]),
              "prompts": torch.tensor([prompt for _, prompt in rows]),
              "log_probs": policy.detach(), "reference": base, "metrics": metrics_of(policy, base, answers).detach()}
    for name, options in CASES.items():
        loss = loss_of(name, policy, base, lengths, answers, **options)
        by_pair = torch.autograd.grad(loss_of(name, policy, base, lengths, answers, **(options | {"sft": 0.0})), policy,
                                      retain_graph=True)[0]
        gradients = torch.autograd.grad(loss, [parameters[g] for g in GRADIENTS], retain_graph=True)
        golden |= {f"{name}.loss": loss.detach().reshape(1), f"{name}.d_log_probs": by_pair.contiguous()}
        golden |= {f"{name}.{g}": value.float().contiguous() for g, value in zip(GRADIENTS, gradients)}
    save_file(golden, folder / "golden.safetensors")
    return {"weights": "train_mixtral", "reference": "train_mixtral, final", "gradients": "float64 autograd", "seed": seed,
            "min_routing_margin": float(f"{margin:.1e}"),
            "settings": {"beta": BETA, "label_smoothing": SMOOTHING, "sft": SFT}, "files": ["golden.safetensors"]}


def template():
    """The template of src/text/chat_template.cc, as its string literals spell it."""
    source = (REPOSITORY / "src" / "text" / "chat_template.cc").read_text(encoding="utf-8")
    body = source[source.index("std::string_view TemplateOf("):]
    lines = body[body.index('return "{{ bos_token'):body.index(";\n}")].splitlines()
    return "".join(json.loads(line[line.index('"'):line.rindex('"') + 1]) for line in lines)


def control_template(version):
    """What mistral-common's v2 and v3 write of a finished conversation, told from its documents of the formats. No space follows a
    control piece: the tokenizer puts one before each text."""
    recent = "message_index > ns.last" if version == 2 else "true"  # v2 forgets calls and results once the user speaks again
    call_id = "" if version == 2 else """ + ', "id": ' + call['id'] | tojson"""
    result = ("[{'name': message['name'], 'content': message['content']}]" if version == 2 else
              "{'content': message['content'], 'call_id': message['tool_call_id']}")
    return "".join(line.strip() for line in f"""{{{{ bos_token }}}}{{% set ns = namespace(system='', last=0) %}}
        {{% for message in messages %}}
        {{% if message['role'] == 'system' %}}{{% set ns.system = ns.system + message['content'] + '\\n\\n' %}}{{% endif %}}
        {{% if message['role'] == 'user' %}}{{% set ns.last = loop.index0 %}}{{% endif %}}
        {{% endfor %}}
        {{% for message in messages %}}{{% set message_index = loop.index0 %}}
        {{% if message['role'] == 'user' %}}{{% set is_last = message_index == ns.last %}}
        {{% if is_last and tools %}}{{{{ '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}}}{{% endif %}}
        {{{{ '[INST]' + (ns.system if is_last else '') + message['content'] + '[/INST]' }}}}
        {{% elif message['role'] == 'tool' %}}
        {{% if {recent} %}}{{{{ '[TOOL_RESULTS]' + {result} | tojson + '[/TOOL_RESULTS]' }}}}{{% endif %}}
        {{% elif message['tool_calls'] %}}{{% if {recent} %}}{{% generation %}}{{{{ '[TOOL_CALLS][' }}}}
        {{% for call in message['tool_calls'] %}}{{{{ '{{"name": ' + call['function']['name'] | tojson + ', "arguments": ' +
 call['function']['arguments'] | tojson{call_id} + '}}' + ('' if loop.last else ', ') }}}}{{% endfor %}}
        {{{{ ']' + eos_token }}}}{{% endgeneration %}}{{% endif %}}
        {{% elif message['role'] == 'assistant' %}}
        {{% generation %}}{{{{ message['content'].rstrip(' ') + eos_token }}}}{{% endgeneration %}}
        {{% endif %}}{{% endfor %}}""".splitlines())


def masked_chats(tokenizer, chat_template, version, chats, tools):
    masked = []
    for messages in chats:
        out = tokenizer.apply_chat_template(messages, tools=tools, chat_template=chat_template, tokenize=True, return_dict=True,
                                            return_assistant_tokens_mask=True)
        masked.append({"version": version, "messages": messages} | ({"tools": tools} if tools else {}) |
                      {"ids": out["input_ids"], "mask": out["assistant_masks"]})
    return masked


def make_chat_masks(root, tokenizer_folder, mistral):
    folder = root / "chat_masks"
    folder.mkdir(exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    texts = [[{"role": role, "content": content} for role, content in chat] for chat in CHATS]
    chats = masked_chats(tokenizer, template(), 1, texts, None)
    first = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": CONTROLS})
    assert tokenizer.convert_tokens_to_ids(CONTROLS) == list(range(first, first + len(CONTROLS)))
    # In v2 and v3 a user's "[INST]" is text here, but a control piece to a tokenizer that sees one string.
    texts = [chat for chat in texts if not any(mark in message["content"] for message in chat for mark in CONTROLS)]
    for version in (2, 3):
        chats += masked_chats(tokenizer, control_template(version), version, texts, None)
        chats += masked_chats(tokenizer, control_template(version), version, TOOL_CHATS, TOOLS)
    write_chats(folder / "chats.json", chats)
    files = ["chats.json"]
    if mistral is not None:
        write_chats(folder / "mistral.json", mistral_chats(mistral, texts))
        files.append("mistral.json")
    return {"tokenizer": "models/nano; mistral.json: Mistral's own, of which it holds ids only", "chats": len(chats), "files": files}


def mistral_chats(folder, texts):
    """Of Mistral's published tokenizers, *.model.v1 to *.model.v3. Without runs of spaces, which transformers merges in another order
    than sentencepiece."""
    texts = [chat for chat in texts if not any("  " in message["content"] for message in chat)]
    chats = []
    for version in (1, 2, 3):
        with tempfile.TemporaryDirectory() as copy:
            shutil.copy(next(folder.glob(f"*.model.v{version}")), pathlib.Path(copy) / "tokenizer.model")
            tokenizer = LlamaTokenizer.from_pretrained(copy, legacy=True)
        chat_template = template() if version == 1 else control_template(version)
        chats += masked_chats(tokenizer, chat_template, version, texts, None)
        if version > 1:
            chats += masked_chats(tokenizer, chat_template, version, TOOL_CHATS, TOOLS)
    return chats


def write_chats(path, chats):
    """A chat a line."""
    lines = ",\n  ".join(json.dumps(chat) for chat in chats)
    path.write_text(f'{{"controls": {json.dumps(CONTROLS)},\n "chats": [\n  {lines}]}}\n', encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=pathlib.Path, help="nano as a Hugging Face folder")
    parser.add_argument("--mistral", type=pathlib.Path, help="Mistral's tokenizers (*.model.v1 to v3); reading them needs protobuf")
    parser.add_argument("--out", type=pathlib.Path, default=REPOSITORY / "tests" / "goldens")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    entries = {"preferences": make_preferences(arguments.out), "chat_masks": make_chat_masks(arguments.out, arguments.tokenizer, arguments.mistral)}
    packages = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "safetensors")}
    path = arguments.out / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, entry in entries.items():
        manifest["cases"][name] = {"command": "python tools/make_align_goldens.py FOLDER --mistral FOLDER", "packages": packages} | entry
    path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
