#!/usr/bin/env python3
"""Write outage directories of systems of which nothing but metrics is known, with one fault each.

    python3 tests/metrics_only.py OUT [--systems N]

Each is another random system of 8 to 30 services that call each other as nobody tells: eight metrics
per service, sampled every 1, 5 or 15 seconds, for 15 to 30 minutes before the fault and ten minutes
from it on. One service is short of processor time (`cpu`), leaks (`memory`), is busy with its disk
(`disk`), is far away (`delay`), or loses packets (`loss`): callers wait for it, fail with it, and
call others less. Load wanders, and single samples are wrong.

The ranking was made before these systems were, and no fault of theirs was read.
"""
import argparse
import csv
import datetime
import math
import pathlib
import random

FIRST_SEED = 1001
START = datetime.datetime(2024, 6, 3, 9, tzinfo=datetime.timezone.utc)
STEPS = (1, 5, 15)
SERVICES = (8, 12, 18, 30)
CALM = (900, 1200, 1800)
LENGTH = 600
KINDS = ("cpu", "memory", "disk", "delay", "loss")
# How strong a fault is, and how much load it meets, requests a second.
STRENGTHS, LOAD = (0.5, 1, 2), 60
MB = 1e6


def stamp(second):
    return (START + datetime.timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


class System:
    def __init__(self, r, kind):
        self.r, self.kind, self.n = r, kind, r.choice(SERVICES)
        n = self.n
        self.names = [f"{r.choice('bcdfglmnprst')}{r.choice('aeiou')}{r.choice('lmnrst')}{i}"
                      for i in range(n)]
        self.calls = [[] for _ in range(n)]
        for i in range(1, n):
            self.calls[r.randrange(max(0, i - 6), i)].append(i)
        self.root, self.strength = r.randrange(1, n), r.choice(STRENGTHS)
        self.own_ms = [r.uniform(2, 15) for _ in range(n)]
        self.cpu = [r.uniform(0.02, 0.5) for _ in range(n)]
        self.memory = [r.uniform(40, 600) * MB for _ in range(n)]
        self.disk = [r.uniform(1e3, 2 * MB) for _ in range(n)]
        # Calls of a service per request of its caller.
        self.share = [r.uniform(0.4, 1.5) for _ in range(n)]
        self.drift, self.slow, self.busy = 0.0, [0.0] * n, [0.0] * n

    def sample(self, since):
        """Metrics of every service, `since` seconds after the fault began; before it, negative."""
        r, n, root, strength = self.r, self.n, self.root, self.strength
        kind = self.kind if since >= 0 else ""
        self.drift = 0.97 * self.drift + r.gauss(0, 0.04)
        rate = [0.0] * n
        rate[0] = LOAD * math.exp(self.drift)
        for i in range(n):
            for callee in self.calls[i]:
                lost = 0.7 if kind == "loss" and i == root else 1
                rate[callee] += rate[i] * self.share[callee] * lost
        latency, errors = [0.0] * n, [0.0] * n
        for i in reversed(range(n)):
            self.slow[i] = 0.6 * self.slow[i] + r.gauss(0, 0.12)
            own = self.own_ms[i] * math.exp(self.slow[i]) * (5 if r.random() < 0.003 else 1)
            failed = float(r.random() < 0.01)
            if i == root:
                own *= 1 + {"cpu": 0.8, "memory": 0.2, "disk": 1}.get(kind, 0) * strength * r.random()
                if kind == "delay":
                    own += 60 * strength * r.uniform(0.5, 1.5)
                if kind == "loss":
                    own += 200 * strength * (r.random() < 0.3)
                    failed += rate[i] * 0.05 * strength * r.random()
            waits = sum(latency[c] * min(self.share[c], 1) * 0.9 for c in self.calls[i])
            latency[i], errors[i] = own + waits, failed + 0.8 * sum(errors[c] for c in self.calls[i])
        for i in range(n):
            self.busy[i] = 0.7 * self.busy[i] + r.gauss(0, 0.08)
            cpu = self.cpu[i] * (rate[i] / LOAD + 0.05) * math.exp(self.busy[i])
            cpu *= 3 if r.random() < 0.004 else 1
            memory = self.memory[i] * (1 + r.gauss(0, 0.002))
            disk = self.disk[i] * math.exp(r.gauss(0, 0.4)) * (10 if r.random() < 0.004 else 1)
            if i == root:
                cpu += (kind == "cpu") * r.uniform(0.5, 1) * strength
                memory += (kind == "memory") * min(since, 240) / 240 * 300 * MB * strength
                disk += (kind == "disk") * 8 * MB * strength * r.uniform(0.5, 1.5)
            yield self.names[i], {
                "cpu_usage": cpu, "memory_usage_bytes": memory, "disk_io_bytes": disk,
                "workload": rate[i] * math.exp(r.gauss(0, 0.05)), "errors": errors[i],
                "latency_p50": latency[i] / 1e3,
                "latency_p90": latency[i] * (1.6 + r.random() * 0.5) / 1e3,
                "sockets": 20 + rate[i] * 0.3 + r.gauss(0, 1),
            }


def write(folder, number):
    r = random.Random(FIRST_SEED + number)
    kind, step, calm = KINDS[number % len(KINDS)], STEPS[number % len(STEPS)], r.choice(CALM)
    system = System(r, kind)
    (folder / "truth").mkdir(parents=True)
    with open(folder / "metrics.csv", "w", encoding="utf8", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["ts", "service", "instance", "metric", "value"])
        for second in range(0, calm + LENGTH, step):
            for service, values in system.sample(second - calm):
                for metric, value in values.items():
                    rows.writerow([stamp(second), service, "", metric, f"{value:.6g}"])
    with open(folder / "truth" / "faults.csv", "w", encoding="utf8", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["fault_id", "start", "end", "service", "instance", "kind"])
        rows.writerow(["1", stamp(calm), stamp(calm + LENGTH), system.names[system.root], "", kind])


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("out", type=pathlib.Path)
    args.add_argument("--systems", type=int, default=60)
    args = args.parse_args()
    for number in range(args.systems):
        write(args.out / f"system-{FIRST_SEED + number}", number)


if __name__ == "__main__":
    main()
