"""Loads a checkpoint that `kernelgen quantize` wrote with transformers and bitsandbytes, and compares it with the original.

    kernelgen quantize --model ORIGINAL --out INT8
    python tests/python/check_int8_checkpoint.py ORIGINAL INT8

Needs transformers, accelerate and bitsandbytes, and a GPU that bitsandbytes supports (from version 0.46 on, a CPU will do). Where they are
missing it says so and ends with exit code 77, which test runners read as "skipped". Exit code 0: everything holds; 1: something does not.

What is checked:
  1. transformers takes the folder as an int8 checkpoint, with no key missing and none unexpected;
  2. every SCB equals what bitsandbytes makes of the original weight when it is loaded with load_in_8bit, and so does every int8 weight but
     for exact ties, which bitsandbytes' approximate division rounds either way (docs/decisions/0005-reciprocal-scale.md);
  3. the logits of both models are the same but for that, and near those of the original.
"""

import json
import sys
from pathlib import Path

SKIPPED = 77

# Exact ties among 16-bit weights: 3 of 323,584 were seen.
MOST_TIES = 1e-4


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    original, converted = (Path(argument) for argument in sys.argv[1:])
    try:
        import bitsandbytes
        import torch
        import transformers
    except ImportError as error:
        print(f"skipped: {error}")
        return SKIPPED

    config = json.loads((converted / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    settings = transformers.BitsAndBytesConfig(
        load_in_8bit=True, llm_int8_threshold=config["llm_int8_threshold"], llm_int8_skip_modules=config["llm_int8_skip_modules"]
    )
    written = json.loads(settings.to_json_string(use_diff=False))
    problems = [f"quantization_config: {key} is {config.get(key)!r}, transformers writes {value!r}" for key, value in written.items() if config.get(key) != value]
    problems += [f"quantization_config: {key} is not a key of transformers" for key in config.keys() - written.keys()]

    device = "cuda" if torch.cuda.is_available() else "cpu"
    load = {"torch_dtype": torch.float16, "device_map": device}
    try:
        ours, report = transformers.AutoModelForCausalLM.from_pretrained(converted, output_loading_info=True, **load)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(original, quantization_config=settings, **load)
    except (ImportError, RuntimeError) as error:
        if device == "cpu":
            print(f"skipped: this bitsandbytes needs a GPU ({error})")
            return SKIPPED
        raise
    stored = ".kernelgen_outlier_"
    problems += [f"missing key {key}" for key in report["missing_keys"]]
    problems += [f"unexpected key {key}" for key in report["unexpected_keys"] if stored not in key]

    layers = 0
    for (name, ours_layer), (_, theirs_layer) in zip(ours.named_modules(), theirs.named_modules()):
        if not isinstance(theirs_layer, bitsandbytes.nn.Linear8bitLt):
            continue
        layers += 1
        difference = (ours_layer.weight.data.int() - theirs_layer.weight.data.int()).abs()
        if int(difference.max()) > 1 or float((difference != 0).float().mean()) > MOST_TIES:
            problems.append(f"{name}: {int((difference != 0).sum())} weights differ, by {int(difference.max())} at most")
        if not torch.equal(ours_layer.weight.SCB.float(), theirs_layer.weight.SCB.float()):
            problems.append(f"{name}: SCB differs")

    ids = torch.arange(3, 35, device=ours.device).unsqueeze(0)
    with torch.no_grad():
        ours_logits, theirs_logits = ours(ids).logits.float(), theirs(ids).logits.float()
        full = transformers.AutoModelForCausalLM.from_pretrained(original, torch_dtype=torch.float32)
        exact = full(ids.cpu()).logits.to(ours_logits.device)
    apart = float((ours_logits - theirs_logits).norm() / theirs_logits.norm())
    if not apart < 0.01:
        problems.append(f"the logits are {apart:.2%} away from those of the model that bitsandbytes quantized")
    error = float((ours_logits - exact).norm() / exact.norm())
    if not error < 0.05:
        problems.append(f"the logits are {error:.1%} away from the original's")

    print(f"{layers} int8 layers; logits {error:.2%} from float32, on {device}; transformers {transformers.__version__}, bitsandbytes {bitsandbytes.__version__}")
    for problem in problems:
        print(f"FAILED {problem}")
    return 1 if problems or layers == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
