"""Matrix products of torch on one NVIDIA GPU, as JSON lines that `kernelgen bench --against FILE` joins.

    python3 bench/peers/gemm_peers.py 2048x768x3072,2048x4096x16384 > peers.jsonl

fp16 is torch.matmul (cuBLAS), fp8 torch._scaled_mm with one scale, int8 torch._int_mm (int32 results, no scales). Device time: each is captured in a CUDA
graph and replayed, over as many sets of operands as keep the weights out of the L2 cache. Medians of ten replays, alternating between the three.
"""
import json
import sys

import torch


def captured(product, operands):
    for operand in operands:
        product(*operand)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats(operands)):
            for operand in operands:
                product(*operand)
    graph.replay()
    return graph


def repeats(operands):
    return max(1, 8 // len(operands))


def microseconds(graph, calls):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    graph.replay()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) * 1e3 / calls


def measure(m, k, n):
    sets = max(1, min(6, 200_000_000 // (n * k)))
    half = [(torch.randn(m, k, device="cuda", dtype=torch.float16), torch.randn(n, k, device="cuda", dtype=torch.float16) * 0.02) for _ in range(sets)]
    eighth = [tuple(x.to(torch.float8_e4m3fn) for x in pair) for pair in half]
    one = torch.tensor(1.0, device="cuda")
    graphs = {
        "torch-fp16": captured(lambda a, b: a @ b.t(), half),
        "torch-fp8": captured(lambda a, b: torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.float16), eighth),
    }
    if m > 16:
        whole = [tuple(torch.randint(-127, 128, x.shape, device="cuda", dtype=torch.int8) for x in pair) for pair in half]
        graphs["torch-int8"] = captured(lambda a, b: torch._int_mm(a, b.t()), whole)
    times = {name: [] for name in graphs}
    for _ in range(10):
        for name, graph in graphs.items():
            times[name].append(microseconds(graph, repeats(half) * sets))
    for name, values in times.items():
        values.sort()
        median = values[len(values) // 2]
        print(json.dumps({
            "op": "matmul", "m": m, "k": k, "n": n, "variant": name,
            "us_median": round(median, 2), "us_min": round(values[0], 2), "tops": round(2 * m * k * n / median / 1e6, 1),
        }), flush=True)


if __name__ == "__main__":
    torch.manual_seed(0)
    print(torch.cuda.get_device_name(0), "torch", torch.__version__, file=sys.stderr)
    for shape in sys.argv[1].split(","):
        measure(*(int(size) for size in shape.split("x")))
        torch.cuda.empty_cache()
