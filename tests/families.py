#!/usr/bin/env python3
"""Write an outage directory of synthetic metric series with faults that are known.

    python3 tests/families.py OUT [--seeds N]

Every shape that a metric commonly has (steady, daily, with sharp edges, of an
office, hourly, drifting, heavy-tailed, counted, constant, near a limit ...) gets
every kind of fault that shows in it, once per seed: three weeks of five-minute samples, the fault
in the third. Its size is a multiple of what the series differs by from a day
before, or of all that it ever did (`peak`). The first week is not scored.
"""
import argparse
import csv
import datetime
import math
import pathlib
import random

PER_DAY = 288
DAYS = 21
START = datetime.datetime(2024, 3, 4, tzinfo=datetime.timezone.utc)
FAULTS = ("shift", "drop", "spike", "flat", "noise", "ramp", "peak")


def autoregressive(r, keep, noise, start):
    level = [0.0]

    def value(_):
        level[0] = keep * level[0] + r.gauss(0, noise)
        return start + level[0]
    return value


def counted(r, mean):
    """Poisson, by Knuth's product of uniforms."""
    def value(i):
        least, k, product = math.exp(-mean(i)), 0, r.random()
        while product > least:
            k, product = k + 1, product * r.random()
        return k
    return value


def office(r):
    def value(i):
        hour, weekday = i % PER_DAY / 12, i // PER_DAY % 7 < 5
        busy = math.sin(math.pi * (hour - 6) / 14.4) if 6 < hour < 20.4 else 0
        return 10 + (60 if weekday else 8) * busy + r.gauss(0, 3)
    return value


def shapes(r):
    phase = r.random()

    def wave(i):
        return math.sin(2 * math.pi * (i / PER_DAY + phase))

    def spike(chance, low, high):
        return r.uniform(low, high) if r.random() < chance else 0
    return {
        "steady": lambda i: 50 + r.gauss(0, 3),
        "daily": lambda i: 50 + 20 * wave(i) + r.gauss(0, 3),
        "edges": lambda i: (80 if 9 <= i % PER_DAY / 12 < 18 else 20) + r.uniform(0, 8),
        "office": office(r),
        "hourly": lambda i: 20 + (40 if i % 12 == 3 else 0) + r.gauss(0, 2),
        "slow": autoregressive(r, 0.95, 3, 50),
        "drifting": autoregressive(r, 0.998, 0.5, 50),
        "heavy": lambda i: 20 * math.exp(r.gauss(0, 0.6)),
        "counted": counted(r, lambda i: 3 + 2 * wave(i)),
        "spiky": lambda i: 5 + r.uniform(0, 1) + spike(0.01, 20, 60),
        "sawtooth": lambda i: 30 + i % 37 + r.gauss(0, 1),
        "constant": lambda i: 100.0,
        "percent": lambda i: min(100, 99.8 + r.gauss(0, 0.1)),
        "latency": lambda i: 100 * (1 + 0.3 * wave(i)) * math.exp(r.gauss(0, 0.15))
        * (1 + spike(0.005, 1, 3)),
    }


def disturb(r, values, fault):
    """Puts the fault into the third week; returns its samples."""
    usual = values[:PER_DAY * 10]
    mean = sum(usual) / len(usual)
    apart = sorted(abs(b - a) for a, b in zip(usual, usual[PER_DAY:]))
    size = max(apart[len(apart) // 2], 0.02 * abs(mean))
    begin = PER_DAY * r.randint(14, 20) + int(PER_DAY * r.uniform(0.3, 0.7))
    length = r.randint(12, 48)
    held = values[begin - 1]
    highest = max(values[:begin])
    for k in range(length):
        was = values[begin + k]
        values[begin + k] = {
            "shift": was + 5 * size,
            "drop": 0.05 * mean,
            "spike": was + (10 * size if k < 4 else 0),
            "flat": held,
            "noise": was + r.gauss(0, 5 * size),
            "ramp": was + 8 * size * k / length,
            "peak": mean + 2.5 * (highest - mean) if k < 3 else was,
        }[fault]
    return begin, begin + length


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    (args.out / "truth").mkdir(parents=True, exist_ok=True)
    series, windows = {}, []
    for seed in range(args.seeds):
        for shape in shapes(random.Random(0)):
            for fault in FAULTS:
                if shape == "constant" and fault in ("flat", "peak"):
                    continue
                name = f"{shape}-{fault}-{seed}"
                r = random.Random(name)
                value = shapes(r)[shape]
                values = [value(i) for i in range(PER_DAY * DAYS)]
                windows.append((name, *disturb(r, values, fault)))
                series[name] = values

    def time(i):
        return (START + datetime.timedelta(minutes=5 * i)).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def write(path, header, rows):
        with open(args.out / path, "w", encoding="utf8", newline="") as f:
            csv.writer(f).writerows([header, *rows])
    columns = ("service", "instance", "metric", "start", "end")
    write("truth/windows.csv", columns, ((n, n, "*", time(a), time(b)) for n, a, b in windows))
    last = PER_DAY * DAYS - 1
    write("truth/scope.csv", columns,
          ((n, n, "*", time(PER_DAY * 7), time(last)) for n in series))
    write("metrics.csv", ("ts", "service", "instance", "metric", "value"),
          ((time(i), n, n, "value", f"{v[i]:.5f}")
           for i in range(last + 1) for n, v in series.items()))


if __name__ == "__main__":
    main()
