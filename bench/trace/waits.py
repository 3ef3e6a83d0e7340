#!/usr/bin/env python3
"""What a sequence of kernels waits for: medians, over the last kernels of a trace, of the time from the end of one kernel to the end of the next.

    ./waits.py TRACE [KERNELS]

Kernels begin before those ahead of them end (programmatic dependent launch), so their own durations overlap; the ends add up. TRACE is what
kernel_trace.cpp writes. Prints us, how long before the other's end the kernel began, how often, both names with their numbers of blocks.
"""
import collections, statistics, sys

kernels = []
for line in open(sys.argv[1]):
    start, end, blocks, _, _, _, name = line.split(None, 6)
    kernels.append((int(end), int(start), f"{name.strip()}[{blocks}]"))
kernels.sort()
waits, leads = collections.defaultdict(list), collections.defaultdict(list)
last = kernels[-int(sys.argv[2] if len(sys.argv) > 2 else 2400):]
for (end, _, name), (next_end, next_start, next_name) in zip(last, last[1:]):
    waits[name, next_name].append((next_end - end) / 1e3)
    leads[name, next_name].append((end - next_start) / 1e3)
for pair, values in sorted(waits.items(), key=lambda item: -sum(item[1])):
    print(f"{statistics.median(values):8.2f} us, began {statistics.median(leads[pair]):6.2f} before, {len(values):5} times: {pair[0]} -> {pair[1]}")
