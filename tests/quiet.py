#!/usr/bin/env python3
"""Write outage directories of systems with little traffic, whose faults are known.

    python3 tests/quiet.py OUT [--systems N] [--faults N]

Each is another random system of 8 to 26 services with 3 to 25 traces a minute: metrics, spans, and
log lines that name their spans. What is asked for varies in its values and in its mix, an operation
may have a second way through it that is nobody's fault, and now and then calls fail for a while by
themselves. Every quarter of an hour one service has a fault of one kind for five minutes: it takes
longer (`cpu_contention`), the way to it does (`network_delay`), one of its operations throws
(`exception`), or finds nothing and says so as it would otherwise (`return`).

This is what small systems look like, and what the ranking of causes was last improved for, with
systems of an earlier form of this script. The faults of these here were not read.
"""
import argparse
import csv
import datetime
import gzip
import json
import math
import pathlib
import random

FIRST_SEED = 201
START = datetime.datetime(2024, 5, 1, 6, tzinfo=datetime.timezone.utc)
# Minutes before the first fault, and length of each.
CALM = 60
LENGTH = 5
SYLLABLES = "ba co du fe gi ha jo ku le mi no pa qui ro sa te vo wu xe zi".split()
VERBS = "find get load query check create update list price reserve validate".split()
KINDS = ("return", "exception", "cpu_contention", "network_delay")
# Ways to write a line, of which each system has one.
STYLES = ('[{verb}][{what}][{key}: {value}]', '{verb} {what} {key}={value}',
          '{verb} {what} with {key} "{value}"', '{verb}_{what} {{"{key}":"{value}"}}')
MS = 1 / 60_000


def word(r, syllables=2):
    return "".join(r.choice(SYLLABLES) for _ in range(syllables))


class Operation:
    def __init__(self, r, service):
        self.service = service
        self.verb, self.what = r.choice(VERBS), word(r)
        self.name = f"/{self.what}/{self.verb}"
        self.key = word(r) + r.choice(["Id", "Name", "Type", ""])
        self.values = [word(r, r.randint(2, 3)) for _ in range(r.choice([1, 2, 2, 3, 4, 6]))]
        self.own_ms = r.uniform(1, 12)
        # Share of calls that take the other way, on which nothing further is called.
        self.other_way = r.choice([0, 0, 0, r.uniform(0.02, 0.3)])
        self.tells_found, self.has_database = r.random() < 0.5, r.random() < 0.6
        # How it tells its callers' fate, and whether it tells of what it did not find.
        self.fate, self.tells_missing = r.random(), r.random() < 0.8
        self.calls = []


class Fault:
    def __init__(self, r, at, operation):
        self.at, self.operation, self.kind = at, operation, r.choice(KINDS)
        self.severity = r.choice(["ERROR", "INFO"])

    def of(self, service, kind):
        return self.operation.service == service and self.kind == kind


class System:
    """A random system and, once it has run, what was seen of it."""

    def __init__(self, seed, faults):
        self.seed, self.r = seed, random.Random(seed)
        r = self.r
        names, suffix, services = set(), r.choice(["", "-service", "-svc"]), r.randint(8, 26)
        while len(names) < services:
            names.add(word(r) + suffix)
        self.names = sorted(names)
        self.style = r.choice(STYLES)
        layers = [0] + sorted(r.randint(1, 4) for _ in self.names[1:])
        operations = [Operation(r, service) for service in range(len(self.names))
                      for _ in range(r.randint(1, 3) if service else r.randint(3, 7))]
        for operation in operations:
            layer = layers[operation.service]
            deeper = [o for o in operations if layers[o.service] > layer]
            wanted = r.randint(1, 4) if layer == 0 else r.choice([0, 0, 1, 1, 2, 3])
            operation.calls = r.sample(deeper, min(wanted, len(deeper)))
        self.entries = [o for o in operations if o.service == 0]
        used = self.reached()
        gap = r.choice([13, 16, 20])
        inner = [o for o in operations if o in used and o.service > 0]
        at = [CALM + n * gap + r.uniform(0, 3) for n in range(faults)]
        self.faults = [Fault(r, t, r.choice(inner)) for t in at]
        self.minutes = CALM + faults * gap
        self.failures = self.natural_failures([o for o in operations if o.calls and o in used])
        self.spans, self.lines = [], []
        # By service and minute: what calls took in ms, and how many of them failed.
        self.served, self.waited = {}, {}

    def reached(self):
        reached, rest = set(), list(self.entries)
        while rest:
            operation = rest.pop()
            if operation not in reached:
                reached.add(operation)
                rest += operation.calls
        return reached

    def natural_failures(self, candidates):
        """`(from, to, operation, share of its calls)`, of two operations."""
        noisy = [self.r.choice(candidates) for _ in range(2)]
        failures, t = [], self.r.uniform(3, 15)
        while t < self.minutes:
            failures.append((t, t + self.r.uniform(1, 4), self.r.choice(noisy),
                             self.r.uniform(0.05, 0.4)))
            t += self.r.expovariate(1 / 12)
        return failures

    def mix(self, of, count, minute):
        """Weights that change every six minutes."""
        r = random.Random(f"{self.seed}-{of}-{int(minute / 6)}")
        return [r.gammavariate(0.8, 1) + 0.02 for _ in range(count)]

    def identifier(self):
        return f"{self.r.randrange(16 ** 16):016x}"

    def run(self):
        t, rate = 0.0, self.r.uniform(3, 25)
        while t < self.minutes:
            t += self.r.expovariate(rate * (1 + 0.3 * math.sin(t / 25)))
            entry, = self.r.choices(self.entries, self.mix("entry", len(self.entries), t))
            fault = next((f for f in self.faults if f.at <= t < f.at + LENGTH), None)
            self.serve(entry, t, self.identifier() + self.identifier(), "", fault)

    def serve(self, operation, start, trace, parent, fault):
        """One call; returns the minutes that it took and whether it succeeded."""
        r, service, span = self.r, operation.service, self.identifier()
        slow = r.uniform(2, 5) if fault and fault.of(service, "cpu_contention") else 1.0
        own = operation.own_ms * math.exp(r.gauss(0, 0.35)) * slow * MS
        if r.random() < 0.01:
            own *= r.uniform(5, 40)
        t = start + 0.3 * own

        def say(severity, text):
            self.lines.append((t, service, severity, text, trace, span))

        def worded(verb, what):
            say("INFO", self.style.format(verb=verb, what=what, key=operation.key, value=value))
        values = operation.values
        value, = r.choices(values, self.mix(operation.name, len(values), start))
        worded(operation.verb, operation.what)
        hit = fault if fault and fault.operation is operation else None
        succeeded, marked = True, False
        if hit and hit.kind == "exception":
            say(hit.severity, f"{operation.verb} {operation.what} threw "
                              f"{operation.what.title()}Exception: bad {operation.key}")
            succeeded, marked = False, r.random() < 0.5
        elif self.fails_by_itself(operation, start):
            callee = self.names[operation.calls[0].service]
            say("WARN", f"No instances available for {callee}")
            say("ERROR", f"503 for call to {callee}")
            succeeded = False
        else:
            if operation.has_database:
                took = r.uniform(0.5, 3) * slow
                self.spans.append((t, service, f"SELECT {operation.what}", trace,
                                   self.identifier(), span, took, False))
                t += took * MS
            empty = hit is not None and hit.kind == "return"
            other = r.random() < operation.other_way
            if other or (empty and operation.tells_missing):
                worded("no", operation.what + " according to")
            elif not empty and operation.tells_found:
                worded("found", operation.what)
            succeeded = not empty
            for callee in operation.calls if not (other or empty) else []:
                took, good = self.call(callee, t, service, trace, span, fault)
                t += took
                if not good:
                    self.tell_fate(operation, callee, say)
                    succeeded = False
                    break
        took = (t + 0.7 * own - start) / MS
        self.spans.append((start, service, operation.name, trace, span, parent, took, marked))
        served = self.served.setdefault((service, int(start)), [[], 0])
        served[0].append(took)
        served[1] += not succeeded and (marked or r.random() < 0.3)
        return took * MS, succeeded

    def call(self, callee, start, service, trace, parent, fault):
        """A call over the network; returns the minutes that it took and whether it succeeded."""
        wire, span = 0.4 * MS, self.identifier()
        if fault and fault.of(callee.service, "network_delay"):
            wire += self.r.uniform(30, 90) * MS
        took, good = self.serve(callee, start + wire / 2, trace, span, fault)
        took += wire
        failed = not good and self.r.random() < 0.5
        self.spans.append((start, service, f"HTTP {self.names[callee.service]}", trace, span,
                           parent, took / MS, failed))
        self.waited.setdefault((service, int(start)), []).append(took / MS)
        return took, good

    def fails_by_itself(self, operation, t):
        return any(since <= t < until and of is operation and self.r.random() < share
                   for since, until, of, share in self.failures)

    def tell_fate(self, operation, callee, say):
        if self.r.random() >= 0.7:
            return
        severity = "INFO" if callee.fate < 0.5 else "ERROR"
        if callee.fate < 0.6:
            say(severity, f"{operation.verb} {operation.what} failed: "
                          f"nothing from {self.names[callee.service]}")
        else:
            say(severity, self.style.format(verb="empty", what=callee.what, key="status",
                                            value="false"))

    def metrics(self):
        """Rows of `metrics.csv`."""
        r = self.r
        services = range(len(self.names))
        usual = [(r.uniform(2, 40), r.uniform(100, 900), r.randrange(4)) for _ in services]
        for minute in range(self.minutes):
            nodes = [r.uniform(5, 9) for _ in range(4)]
            fault = next((f for f in self.faults if f.at <= minute + 0.9 < f.at + LENGTH), None)
            for service, (cpu, memory, node) in zip(services, usual):
                took, failed = self.served.get((service, minute), ([], 0))
                busy = cpu * math.exp(r.gauss(0, 0.12)) + 0.002 * math.sqrt(sum(took))
                if r.random() < 0.015:
                    busy *= r.uniform(2, 6)
                if fault and fault.of(service, "cpu_contention"):
                    busy += cpu * r.uniform(0.8, 3)
                values = {
                    "cpu_usage": busy, "memory_usage": memory * (1 + 0.01 * r.gauss(0, 1)),
                    "node_cpu_usage": nodes[node], "request_rate": len(took) / 60,
                    "network_receive_bytes":
                        1000 + 900 * len(took) * math.exp(r.gauss(0, 0.3)),
                    "success_rate": 100 * (1 - failed / max(len(took), 1)),
                    **quantiles("latency", took),
                    **quantiles("client_latency", self.waited.get((service, minute), []))}
                for name, value in values.items():
                    yield stamp(minute + 1), *self.place(service), name, f"{value:.5g}"

    def place(self, service):
        return self.names[service], f"{self.names[service]}-0"


def quantiles(name, values):
    if not values:
        return {}
    ordered = sorted(values)

    def at(share):
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
    return {f"{name}_p90": at(0.9), f"{name}_p99": at(0.99)}


def stamp(minute):
    at = START + datetime.timedelta(minutes=minute)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(system, out):
    (out / "truth").mkdir(parents=True)

    def table(path, header, rows):
        with open(out / path, "w", encoding="utf8", newline="") as f:
            csv.writer(f).writerows([header, *rows])

    def objects(path, rows):
        with gzip.open(out / path, "wt", 2, encoding="utf8") as f:
            f.writelines(json.dumps(row) + "\n" for row in rows)

    def placed(at, service, **more):
        name, instance = system.place(service)
        return {"ts": stamp(at), "service": name, "instance": instance, **more}
    table("metrics.csv", ("ts", "service", "instance", "metric", "value"), system.metrics())
    objects("logs.jsonl.gz", (
        placed(at, service, severity=severity, body=body, trace_id=trace, span_id=span)
        for at, service, severity, body, trace, span in sorted(system.lines)))
    objects("spans.jsonl.gz", (
        placed(at, service, operation=operation, trace_id=trace, span_id=span,
               parent_span_id=parent, duration_us=int(took * 1000),
               status="error" if failed else "unset")
        for at, service, operation, trace, span, parent, took, failed in sorted(system.spans)))
    table("truth/faults.csv", ("fault_id", "start", "end", "service", "instance", "kind"), (
        (f"{system.seed}-{n}", stamp(f.at), stamp(f.at + LENGTH),
         *system.place(f.operation.service), f.kind) for n, f in enumerate(system.faults)))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT", type=pathlib.Path)
    parser.add_argument("--systems", type=int, default=12, metavar="N")
    parser.add_argument("--faults", type=int, default=12, metavar="N")
    args = parser.parse_args()
    for seed in range(FIRST_SEED, FIRST_SEED + args.systems):
        system = System(seed, args.faults)
        system.run()
        write(system, args.out / f"system-{seed}")


if __name__ == "__main__":
    main()
