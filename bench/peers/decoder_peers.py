# What users would run instead of `kernelgen bench-model`: transformers in float16 and, where bitsandbytes can be imported, LLM.int8(), on a model of
# random weights in OPT's shape with six outlier features in every layer norm. Decoding through the model's own forward with its key-value cache,
# greedy, wall-clock time; prompts likewise. Prints a JSON object a line, with the fields that `kernelgen bench-model --json` has.
# Run: python3 decoder_peers.py [--shape opt-6.7b] [--batch 1,8,32] [--context 256] [--prefill 2047] [--steps 32]
import argparse
import json
import time

import torch
from transformers import OPTConfig, OPTForCausalLM

SHAPES = {"opt-1.3b": (24, 2048, 32), "opt-6.7b": (32, 4096, 32), "opt-13b": (40, 5120, 40)}
OUTLIERS = [-60.0, -45.0, -40.0, -35.0, 28.0, -23.0]


def build(shape):
    layers, hidden, heads = SHAPES[shape]
    config = OPTConfig(
        vocab_size=50272, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, ffn_dim=4 * hidden,
        word_embed_proj_dim=hidden, max_position_embeddings=2048)
    with torch.device("meta"):
        model = OPTForCausalLM(config)
    model = model.half().to_empty(device="cuda").eval()
    model.tie_weights()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1)
            elif name.endswith("norm.bias"):
                parameter.zero_()
                for i, value in enumerate(OUTLIERS):
                    parameter[int((i + 0.5) * hidden / len(OUTLIERS))] = value
            elif name.endswith(".bias"):
                parameter.zero_()
            else:
                parameter.normal_(std=hidden ** -0.5)
    return model


def to_int8(model):
    import bitsandbytes as bnb

    for name, module in list(model.model.decoder.layers.named_modules()):
        for child, linear in list(module.named_children()):
            if isinstance(linear, torch.nn.Linear):
                quantized = bnb.nn.Linear8bitLt(linear.in_features, linear.out_features, has_fp16_weights=False, threshold=6.0)
                quantized.weight = bnb.nn.Int8Params(linear.weight.data.cpu(), requires_grad=False, has_fp16_weights=False)
                quantized.bias = linear.bias
                setattr(module, child, quantized.cuda())
    torch.cuda.empty_cache()
    return model


@torch.no_grad()
def prefill(model, tokens, samples=7):
    ids = torch.randint(0, 50272, (1, tokens), device="cuda")
    times = []
    for i in range(samples + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        # The last position's logits alone are needed, as in generation.
        model(ids, use_cache=True, logits_to_keep=1).logits[:, -1].argmax(-1).item()
        if i >= 2:
            times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)


@torch.no_grad()
def decode(model, batch, context, steps):
    ids = torch.randint(0, 50272, (batch, context), device="cuda")
    out = model(ids, use_cache=True, logits_to_keep=1)
    cache, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
    times = []
    for i in range(steps + 4):
        torch.cuda.synchronize()
        start = time.perf_counter()
        out = model(token, past_key_values=cache, use_cache=True)
        cache, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
        token[0].item()
        if i >= 4:
            times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)


def report(op, arguments, scheme, batch, tokens, context, times):
    median = times[len(times) // 2]
    print(json.dumps({
        "op": op, "shape": arguments.shape, "scheme": scheme, "device": torch.cuda.get_device_name(0), "batch": batch, "tokens": tokens,
        "context": context, "ms_median": round(median, 4), "ms_min": round(times[0], 4), "tokens_per_second": round(tokens / median * 1e3, 2)}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="opt-6.7b", choices=SHAPES)
    parser.add_argument("--batch", default="1,8,32")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--prefill", type=int, default=2047)
    parser.add_argument("--steps", type=int, default=32)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    schemes = ["transformers fp16"]
    try:
        import bitsandbytes  # noqa: F401
        schemes.append("transformers + bitsandbytes LLM.int8()")
    except Exception as error:
        print(json.dumps({"op": "note", "text": f"bitsandbytes cannot be imported: {error}"}), flush=True)
    model = build(arguments.shape)
    for scheme in schemes:
        if "bitsandbytes" in scheme:
            model = to_int8(model)
        print(json.dumps({"op": "load", "shape": arguments.shape, "scheme": scheme, "parameter_bytes": model.get_memory_footprint()}), flush=True)
        if arguments.prefill:
            report("prefill", arguments, scheme, 1, arguments.prefill, 0, prefill(model, arguments.prefill))
        for batch in map(int, arguments.batch.split(",")):
            report("decode", arguments, scheme, batch, batch, arguments.context, decode(model, batch, arguments.context, arguments.steps))


if __name__ == "__main__":
    main()
