#!/usr/bin/env python3
"""Write outage directories of random systems of microservices: short captures with one fault each.

    python3 tests/systems.py OUT [--seed N] [--systems N]

Each is another system of 5 to 35 services (gateway, business services, databases, caches, queues)
of which 20 to 90 minutes are known, by whatever it has: metrics in one of several styles, logs and
spans, or only some of these. `system-N` has one fault of one of twenty kinds, which begins 40 to
75 % into the capture; `calm-N`, one of six, has none, though it has what is usual: noise, garbage
collection, batch jobs, deploys, blips, and errors that harm nobody. `index.csv` says what each is.

Directory N of a seed is the same however many are written. The faults of these were made without
knowledge of how the program ranks causes.
"""
import argparse
import csv
import datetime
import gzip
import io
import json
import math
import pathlib
import random
import sys

from systems_faults import KINDS, STRENGTHS, Fault
from systems_metrics import LABELLED, STYLES, Mesh, Target, metrics_of
from systems_model import NONE, Effect, System
from systems_told import Teller

FIRST = datetime.datetime(2024, 2, 5, tzinfo=datetime.timezone.utc)
SETUPS = ("metrics+logs+spans", "metrics+logs", "metrics+spans", "logs+spans", "metrics", "logs",
          "spans", "mesh")
STEPS = (1, 5, 10, 15, 30, 60)
SIZES = ((5, 8), (9, 14), (15, 22), (23, 35))
# Metrics and spans of one directory, about.
MOST_ROWS, MOST_SPANS = 160_000, 30_000
# What proxies do not see: what goes on in stores and workers.
NOT_IN_MESH = ("disk_full", "slow_disk", "slow_query", "cache_down", "queue_backlog")
FAINT = ("load_surge", "error_return", "exception", "dns_failure", "network_delay",
         "packet_loss", "external_down", "bad_config")
ROLES = ("gateway", "app", "queue", "worker", "cache", "db")


def nth(seed, of, choices, n):
    """Choice `n` of a series that is a new shuffle of all choices again and again."""
    block = list(choices)
    random.Random(f"{seed}-{of}-{n // len(block)}").shuffle(block)
    return block[n % len(block)]


class Capture:
    """One directory: what is drawn for it, and the writing of it."""

    def __init__(self, seed, n):
        self.n, self.r = n, random.Random(f"{seed}-{n}")
        r = self.r
        self.calm = nth(seed, "calm", (1, 0, 0, 0, 0, 0), n)
        faults = sum(not nth(seed, "calm", (1, 0, 0, 0, 0, 0), m) for m in range(n))
        self.kind = "" if self.calm else nth(seed, "kind", KINDS, faults)
        self.strength = "" if self.calm else nth(seed, "strength", STRENGTHS, faults)
        setups = [nth(seed, "setup", SETUPS, m) for m in range(n, n + 2 * len(SETUPS))]
        self.setup = next(s for s in setups if self.shows(s))
        self.size, self.step = nth(seed, "size", SIZES, n), nth(seed, "step", STEPS, n)
        self.name = f"{'calm' if self.calm else 'system'}-{n + 1:03}"
        self.mesh, self.has = self.setup == "mesh", self.setup.replace("mesh", "metrics").split("+")
        self.style = "mesh" if self.mesh else ""
        if "metrics" in self.has and not self.mesh:
            self.style = r.choice((*STYLES, "prometheus", "plain"))
        self.step = max(self.step, {"cloud": 60, "prometheus": 5, "mesh": 5}.get(self.style, 1))
        # Little of few requests is nothing.
        if "metrics" not in self.has and self.kind in FAINT and self.strength == "subtle":
            self.strength = "moderate"
        at = datetime.timedelta(days=r.randrange(500), seconds=r.randrange(86_400))
        self.start = FIRST + at
        self.draw_until_it_fits()

    def shows(self, setup):
        if setup == "mesh" and self.kind in NOT_IN_MESH:
            return False
        # Spans do not tell what a cache holds.
        return not (setup == "spans" and self.kind == "cache_down" and self.strength != "blunt")

    def draw_until_it_fits(self):
        """Draws a system that can have the fault, and a length that is not too much to write."""
        r, tried, most = self.r, 0, MOST_ROWS * (2 if self.step == 1 else 1)
        while True:
            tried += 1
            if tried > 60 and self.step < 60:
                self.step, tried = STEPS[STEPS.index(self.step) + 1], 0
            size, minutes = r.randint(*self.size), r.choice((20, 25, 30, 40, 45, 60, 75, 90))
            if self.step == 1:
                minutes = r.choice((20, 25, 30))
            if self.step == 60:
                minutes = max(minutes, 40)
            told = "logs" in self.has or "spans" in self.has
            tps = math.exp(r.uniform(math.log(3), math.log(60 if told else 400)))
            self.system = System(r, size, r.choice((1, 2, 3)), tps)
            self.seconds, self.dt = minutes * 60, 1 if self.step == 1 else 5
            thin = r.choice((0.3, 0.6, 1))
            table = metrics_of(self.style, r, thin) if self.style in STYLES else []
            labelled = self.style in LABELLED
            self.targets = [Target(i, table, self.step, r.uniform(0, self.step), labelled)
                            for s in self.system.services for i in s.instances]
            per_scrape = sum(len(t.metrics) for t in self.targets)
            if self.mesh:
                self.targets = [Mesh(self.system, self.step, r.uniform(0, self.step))]
                per_scrape = 7 * len(self.targets[0].pairs)
            elif not self.style:
                self.targets = []
            ticks = len([i for s in self.system.services for i in s.instances]) / self.dt
            if max(per_scrape / self.step, ticks) * self.seconds > most:
                continue
            if self.calm:
                self.fault = None
                return
            start = self.seconds * r.uniform(0.4, 0.75)
            rest = self.seconds - start
            length = r.choice((rest, r.uniform(240, 720), r.uniform(240, 720)))
            seen = ("gateway", "app") if self.mesh else ROLES
            if "metrics" not in self.has:
                seen = ROLES
            self.fault = Fault(r, self.system, self.kind, self.strength, round(start),
                               round(min(start + max(length, 240), self.seconds)), seen)
            if self.fault.possible:
                return

    def accidents(self):
        """Blips that mean nothing, a harmless deploy, and an instance that starts late."""
        r, root = self.r, self.fault and self.fault.service
        others = [s for s in self.system.services if s is not root and s.role in ("app", "worker")]
        self.blips, self.deploy = [], None
        # Not all stores have an exporter.
        dark = [s for s in self.system.services if s is not root and s.role in ("db", "cache")]
        if not self.mesh and dark and r.random() < 0.25:
            unseen = r.choice(dark)
            self.targets = [t for t in self.targets if t.i.service is not unseen]
        if not others:
            return
        for _ in range(r.choice((0, 1, 2, 3))):
            at = r.uniform(0.05, 0.95) * self.seconds
            self.blips.append((at, at + r.uniform(15, 45), r.choice(r.choice(others).instances),
                               Effect(slow=r.uniform(0.2, 1.5))))
        if r.random() < 0.3:
            self.deploy = (r.uniform(0.1, 0.9) * self.seconds, r.choice(others))
        several = [s for s in others if len(s.instances) > 1]
        if several and r.random() < 0.2:
            r.choice(several).instances[-1].starts = r.uniform(0.1, 0.3) * self.seconds

    def run(self, folder):
        r, system, fault = self.r, self.system, self.fault
        self.accidents()
        spans_per_trace = sum(s.base_rate for s in system.services) / system.tps
        every = system.tps * self.seconds * spans_per_trace
        self.teller = Teller(r, system, fault, self.start, "logs" in self.has,
                             "spans" in self.has, min(1, MOST_SPANS / every))
        told = {"logs", "spans"} & set(self.has)
        rows, changes = [], []
        for n in range(int(self.seconds / self.dt)):
            t = n * self.dt
            if fault:
                before = fault.deployed
                fault.apply(t, system.instance_name)
                if fault.deployed != before:
                    changes.append((t, fault.service.name))
            if self.deploy and t >= self.deploy[0]:
                s = self.deploy[1]
                changes.append((t, s.name))
                for k, i in enumerate(s.instances):
                    i.restart(system.instance_name(s, k))
                self.deploy = None
            for since, until, i, effect in self.blips:
                if i.effect in (NONE, effect):
                    i.effect = effect if since <= t < until else NONE
            system.tick(t, self.dt)
            if told:
                self.teller.tick(t, self.dt)
            self.scrape(t + self.dt, rows)
        self.write(folder, rows, changes)

    def scrape(self, until, rows):
        due = sorted((x for x in self.targets if x.next < until), key=lambda x: x.next)
        for target in due:
            if self.r.random() > 0.003:
                rows += target.scrape(target.next, self.teller.stamp(target.next)[1])
            target.next += self.step

    def write(self, folder, rows, changes):
        r = self.r
        (folder / "truth").mkdir(parents=True)

        def lines(name, found):
            if r.random() < 0.3:
                # The same bytes for the same seed: without the time of day.
                raw = gzip.GzipFile(folder / f"{name}.gz", "wb", 2, mtime=0)
                f = io.TextIOWrapper(raw, encoding="utf8")
            else:
                f = open(folder / name, "w", encoding="utf8")
            with f:
                f.writelines(found)

        def table(name, header, found):
            with open(folder / name, "w", encoding="utf8", newline="") as f:
                csv.writer(f, lineterminator="\n").writerows([header, *found])

        def stamp(t):
            return self.teller.stamp(t)[1]
        if self.style:
            labels = ",labels" if self.style in LABELLED else ""
            lines("metrics.csv", [f"ts,service,instance,metric,value{labels}\n", *rows])
        for name in ("logs", "spans"):
            if name in self.has:
                found = sorted(getattr(self.teller, name), key=lambda x: x[0])
                lines(f"{name}.jsonl", (line for at, line in found if at < self.seconds))
        edges = [(s.name, e.callee.name) for s in self.system.services for e in s.calls]
        edges += [(s.name, s.source.name) for s in self.system.services if s.source]
        if r.random() < (0.3 if self.has == ["logs"] else 0.6):
            table("topology.csv", ("caller", "callee"), sorted(edges))
        if changes and r.random() < 0.6:
            lines("changes.jsonl", (json.dumps({
                "ts": stamp(t), "service": name, "kind": "deploy", "object": f"deployment/{name}",
                "actor": "argocd", "detail": f"image tag v{r.randint(1, 4)}.{r.randint(0, 30)}"})
                + "\n" for t, name in changes))
        f = self.fault
        table("truth/faults.csv", ("fault_id", "start", "end", "service", "instance", "kind"),
              [(self.name, stamp(f.start), stamp(f.end), f.service.name,
                "" if self.mesh else f.instance, f.kind)] if f else [])
        table("truth/scope.csv", ("service", "instance", "metric", "start", "end"),
              [("*", "*", "*", stamp(0), stamp(self.seconds))])

    def described(self):
        step = self.step if self.style else ""
        f = self.fault
        return (self.name, self.setup, self.style, step, len(self.system.services),
                self.seconds // 60, self.kind, self.strength, f.service.role if f else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=7, metavar="N")
    parser.add_argument("--systems", type=int, default=120, metavar="N")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "index.csv", "w", encoding="utf8", newline="") as f:
        index = csv.writer(f, lineterminator="\n")
        index.writerow(("name", "setup", "style", "sampling_s", "services", "minutes", "kind",
                        "strength", "role"))
        for n in range(args.systems):
            capture = Capture(args.seed, n)
            capture.run(args.out / capture.name)
            index.writerow(capture.described())
            print(*capture.described(), file=sys.stderr)


if __name__ == "__main__":
    main()
