#!/usr/bin/env python3
"""Times ONNX Runtime and KernelGen in turn, for machines whose speed changes from one second to the next: the fastest
samples of as many alternations meet the machine at its best, where two runs of a minute each may not.

    ./alternate.py KxN M,M,... THREADS ROUNDS KERNELGEN [OPTION ...]

KERNELGEN is the tool's command; options go to its bench. Needs what install.sh builds. Prints, per M, weights and op,
GMAC/s of the fastest, the middle and the slowest round (of each the fastest sample).
"""
import collections, glob, json, os, subprocess, sys, tempfile

shape, rows, threads, rounds, tool = sys.argv[1:6]
k, n = map(int, shape.split("x"))
build = os.environ.get("PEERS_BUILD", os.path.join(tempfile.gettempdir(), "kernelgen-peers-cpu"))
runtime = glob.glob(build + "/ort/package/bin/*/linux/x64/libonnxruntime.so.1")[0]
commands = [
    [build + "/bench_ort", runtime],
    tool.split() + ["bench", "--json", "--op", "int8-gemm,llm-int8"] + sys.argv[6:],
]
arguments = ["--k", str(k), "--n", str(n), "--m", rows, "--threads", threads, "--seconds", "0.03", "--reps", "5"]

times = collections.defaultdict(list)
for _ in range(int(rounds)):
    for command in commands:
        for line in subprocess.run(command + arguments, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
            sample = json.loads(line)
            if "us_min" in sample:
                times[sample["M"], sample["weights"], sample["peer"], sample["op"]].append(sample["us_min"])

for (m, weights, peer, op), samples in sorted(times.items()):
    fastest, middle, slowest = (m * k * n / sorted(samples)[i] / 1e3 for i in (0, len(samples) // 2, -1))
    print(f"{shape} M={m} {weights} {peer} {op}: {fastest:.1f} {middle:.1f} {slowest:.1f}")
