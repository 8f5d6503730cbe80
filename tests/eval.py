#!/usr/bin/env python3
"""Run public data sets through the program and print one table of figures.

    python3 tests/eval.py --kit DIR --data DIR --out DIR [--only SET] [--binary PATH]

KIT holds adapters and scorers (adapt.py, score_*.py, naive_*.py), DATA one
folder per data set, OUT takes everything that is written: outage directories,
archives, what was handed to the scorers, and results.json. Neither the data nor
anything made from it belongs into the repository.

Sets: nezha (incidents; causes end to end and for given times), petshop (causes),
nab and jumpstarter (signals), loghub (templates), runbooks (the runbook of an alert),
cases (past incidents like a new one) and calm (days without a fault); these two are
generated, so they need neither KIT nor DATA, as are families (synthetic series of many
shapes, each with a fault), formats (logs of many kinds of systems), quiet (causes in
systems of little traffic, for given times), metrics_only (the same in systems of which
nothing else is known) and systems (a hundred systems of all kinds, known for an hour by
what they happen to have: incidents and causes), which need the KIT.
One fixed configuration, the program's own, serves them all.

Only this script reads `truth/`: the starts of faults, for the causes at given
times, and the path for the scorers. The column `reference` is what the kit's
control reaches by the same measure: fixed three-sigma thresholds for signals and
incidents, the largest robust z-score for causes.

A subcommand that the program does not have gives rows "not available". The exit
code is 1 if a command failed, and 2 if the arguments are of no use.
"""
import argparse
import csv
import datetime
import io
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Folder in DATA, and pattern of the outage directories that the adapter makes of it.
SETS = {
    "nezha": ("nezha", ("ob-*", "tt-*")),
    "petshop": ("petshop", ("petshop-*",)),
    "nab": ("nab", ("nab",)),
    "jumpstarter": ("jumpstarter", ("jumpstarter",)),
    "loghub": ("loghub2k", ("loghub",)),
    "runbooks": ("runbooks_promop", ()),
    "families": ("", ("families",)),
    "formats": ("", ("formats",)),
    "quiet": ("", ("quiet",)),
    "metrics_only": ("", ("metrics_only",)),
    "systems": ("", ("systems",)),
    "cases": ("", ()),
    "calm": ("", ()),
}
WITHOUT_KIT = ("runbooks", "cases", "calm")
WITHOUT_DATA = ("families", "formats", "quiet", "metrics_only", "systems", "cases", "calm")
# Runbooks that lie beside those of the alerts and are to be told from them.
OTHER_RUNBOOKS = "runbooks_scoutflo"
# Seeds of the generated days of `cases`, faults of each, and the share that is past.
CASE_SEEDS = (1, 2, 3, 4, 5)
CASE_FAULTS = 48
PAST = 2 / 3
# Seeds of the generated days of `calm`, and days of each.
CALM_SEEDS = (1, 2, 3, 4, 5)
CALM_DAYS = 2
# Moments of each at which a diagnosis is asked for, from two hours after their start.
CALM_MOMENTS = 24
CALM_FROM = datetime.datetime(2024, 3, 12, 8, tzinfo=datetime.timezone.utc)
# Longer than any command should take on two cores; a hang must not hold up the rest.
TIMEOUT_S = 1800

INCIDENTS_SQL = (
    "SELECT incident_id, opened_at, closed_at, services, root_service FROM incidents"
    " ORDER BY opened_at, incident_id"
)
SIGNALS_SQL = (
    "SELECT cluster, service, instance, metric, window_start, window_end, score FROM signals"
    " ORDER BY window_end, cluster, service, instance, metric"
)
# An incident counts for the fault during which it opened, and so does its diagnosis.
DIAGNOSES_SQL = (
    "SELECT i.incident_id, i.opened_at, d.diagnosed_at, d.rank, d.service, d.instance, d.kind,"
    " d.confidence FROM diagnoses d JOIN incidents i ON d.incident_id = i.incident_id"
    " ORDER BY i.opened_at, i.incident_id, d.diagnosed_at, d.rank"
)


class Failed(Exception):
    """A command that did not succeed, with what it said."""


class Missing(Exception):
    """A subcommand that the program does not have."""


class Evaluation:
    def __init__(self, args):
        self.kit, self.data, self.out = args.kit, args.data, args.out
        self.binary, self.anonymize = args.binary, args.anonymize
        self.rows, self.json, self.failures = [], {}, 0
        self.known = {}

    # Commands

    def product(self, *args):
        """Standard output of the program."""
        name = args[0]
        if name not in self.known:
            probe = subprocess.run([self.binary, name, "--help"], capture_output=True, text=True,
                                   stdin=subprocess.DEVNULL, timeout=60)
            self.known[name] = probe.returncode == 0 and bool(probe.stdout.strip())
        if not self.known[name]:
            raise Missing(f"`{name}` is not available")
        return run([self.binary, *args])

    def script(self, name, *args):
        """Standard output of one of the kit's scripts."""
        return run([sys.executable, self.kit / name, *args])

    def score(self, name, *args):
        return json.loads(self.script(name, *args))

    # Rows of the table

    def row(self, dataset, measure, value, reference=None):
        self.rows.append([dataset, measure, value, reference])
        print(f"{dataset}: {measure} = {show(value)}", file=sys.stderr)

    def attempt(self, dataset, measure, work):
        """Runs one part; whatever goes wrong there leaves the others alone."""
        try:
            return work()
        except Missing as e:
            self.row(dataset, measure, str(e))
        except (Failed, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as e:
            self.failures += 1
            self.row(dataset, measure, f"failed: {e}")
        return None

    def keep(self, dataset, part, result):
        self.json.setdefault(dataset, {})[part] = result

    # Data sets

    def outages(self, name):
        """The set's outage directories, converted where they are not there yet."""
        folder, patterns = SETS[name]
        anonymize = self.anonymize if name != "loghub" else None
        base = self.out / "outages"
        if anonymize is not None:
            # The directories have no telling names either.
            base, patterns = self.out / f"outages-{anonymize}" / name, ("[!.]*",)
        done = base / f".{name}"
        if not done.exists():
            base.mkdir(parents=True, exist_ok=True)
            options = [] if anonymize is None else ["--anonymize", anonymize]
            self.script("adapt.py", name, self.data / folder, base, *options)
            done.touch()
        return sorted(path for pattern in patterns for path in base.glob(pattern))

    def work_file(self, name):
        path = self.out / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def replay(self, outage):
        """A fresh archive of the outage, and the seconds that it took."""
        archive = self.out / "archives" / outage.name
        shutil.rmtree(archive, ignore_errors=True)
        archive.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        self.product("replay", outage, "--archive", archive)
        return archive, time.monotonic() - started

    def query(self, archive, sql):
        return self.product("query", "--archive", archive, "--format", "csv", sql)

    def nezha(self):
        for outage in self.outages("nezha"):
            archive = self.attempt(outage.name, "replay", lambda: self.replayed(outage))
            if archive:
                self.attempt(outage.name, "incidents", lambda: self.incidents(outage, archive))
                self.attempt(outage.name, "causes end to end",
                             lambda: self.end_to_end(outage.name, [(outage, archive)]))
            self.attempt(outage.name, "causes at given times",
                         lambda: self.oracle(outage.name, [outage]))

    def petshop(self):
        outages = self.outages("petshop")
        self.attempt("petshop", "causes at given times",
                     lambda: self.oracle("petshop", outages, "--base", "200000", "--skip", "0",
                                         "--post", "1500", "--by-kind"))
        self.attempt("petshop", "causes end to end", lambda: self.end_to_end(
            "petshop", [(outage, self.replay(outage)[0]) for outage in outages]))

    def nab(self):
        for outage in self.outages("nab"):
            self.attempt(outage.name, "signals", lambda: self.signals(outage))

    def jumpstarter(self):
        for outage in self.outages("jumpstarter"):
            self.attempt(outage.name, "signals", lambda: self.signals(outage))

    def synthetic(self, name):
        """What tests/NAME.py writes, again when the script or what it reads is another."""
        tests = ROOT / "tests"
        script, made = tests / f"{name}.py", self.out / "outages" / f".{name}"
        outage = self.out / "outages" / name
        parts = [*sorted(tests.glob(f"{name}_*.py")), *sorted(tests.glob(f"{name}/*.txt"))]
        source = b"".join(p.read_bytes() for p in [script, *parts])
        if not made.exists() or made.read_bytes() != source:
            shutil.rmtree(outage, ignore_errors=True)
            run([sys.executable, script, outage])
            made.write_bytes(source)
        return outage

    def families(self):
        outage = self.synthetic("families")
        self.attempt("families", "signals", lambda: self.signals(outage))
        self.attempt("families", "shapes", lambda: self.shapes(outage))

    def shapes(self, outage):
        """Share of the faults of each shape during which a signal is known."""
        with open(outage / "truth" / "windows.csv", encoding="utf8", newline="") as f:
            windows = {row["service"]: row for row in csv.DictReader(f)}
        found = set()
        signals = self.work_file(f"{outage.name}.signals.csv").read_text(encoding="utf8")
        for row in csv.DictReader(io.StringIO(signals)):
            window = windows[row["service"]]
            if to_ms(window["start"]) < to_ms(row["window_end"]) <= to_ms(window["end"]):
                found.add(row["service"])
        shapes = {}
        for name in windows:
            shapes.setdefault(name.split("-")[0], []).append(name in found)
        for shape, hits in shapes.items():
            self.row("families", f"recall, {shape}", sum(hits) / len(hits))

    def loghub(self):
        for folder in self.outages("loghub"):
            self.attempt("loghub", "templates", lambda: self.templates("loghub", folder))

    def formats(self):
        folder = self.synthetic("formats")
        self.attempt("formats", "templates", lambda: self.templates("formats", folder))
        self.attempt("formats", "with header", lambda: self.with_header("formats", folder))

    def quiet(self):
        systems = sorted(self.synthetic("quiet").glob("system-*"))
        self.attempt("quiet", "causes at given times", lambda: self.oracle("quiet", systems))

    def metrics_only(self):
        systems = sorted(self.synthetic("metrics_only").glob("system-*"))
        self.attempt("metrics_only", "causes at given times",
                     lambda: self.oracle("metrics_only", systems))

    def systems(self):
        folders = sorted(self.synthetic("systems").glob("*-[0-9]*"))
        pairs = [(folder, self.replay(folder)[0]) for folder in folders]
        self.attempt("systems", "incidents", lambda: self.found("systems", pairs))
        faulty = [(folder, archive) for folder, archive in pairs if "calm" not in folder.name]
        self.attempt("systems", "causes end to end", lambda: self.end_to_end("systems", faulty))
        # The controls know neither labels nor systems without metrics.
        self.attempt("systems", "causes at given times", lambda: self.oracle(
            "systems", [folder for folder, _ in faulty], control=None))

    def found(self, name, pairs):
        """Faults during which an incident opened, by what is known of the system, and the rest."""
        with open(pairs[0][0].parent / "index.csv", encoding="utf8", newline="") as f:
            index = {row["name"]: row for row in csv.DictReader(f)}
        hits, opened, vain, hours = {}, 0, 0, 0.0
        for folder, archive in pairs:
            with open(folder / "truth" / "faults.csv", encoding="utf8", newline="") as f:
                spans = [(to_ms(r["start"]), to_ms(r["end"])) for r in csv.DictReader(f)]
            incidents = csv.DictReader(io.StringIO(self.query(archive, INCIDENTS_SQL)))
            times = [to_ms(row["opened_at"]) for row in incidents]
            inside = [sum(a <= at <= b for at in times) for a, b in spans]
            hits.setdefault(index[folder.name]["setup"], []).extend(n > 0 for n in inside)
            opened += sum(inside)
            vain += len(times) - sum(inside)
            hours += float(index[folder.name]["minutes"]) / 60
        all_hits = sum(hits.values(), [])
        self.row(name, "faults with an incident", sum(all_hits) / len(all_hits))
        for setup, of_setup in sorted(hits.items()):
            if of_setup:
                self.row(name, f"of these, {setup}", sum(of_setup) / len(of_setup))
        self.row(name, "incidents per detected fault", opened / max(sum(all_hits), 1))
        self.row(name, f"false incidents in {hours:.0f} hours", vain)

    def runbooks(self):
        """One runbook per alert, named after it, among others."""
        base = self.data / SETS["runbooks"][0] / "runbooks"
        files = [path for path in sorted(base.rglob("*.md")) if not path.name.startswith("_")]
        self.attempt("runbooks", "by the alert's name", lambda: self.alerts_found(
            "by the alert's name", base, {p.relative_to(base).as_posix(): p.stem for p in files}))
        # The same without the name: neither in the path nor in the text.
        blind = self.out / "work" / "runbooks-blind"
        shutil.rmtree(blind, ignore_errors=True)
        blind.mkdir(parents=True)
        names = {}
        for n, path in enumerate(files):
            names[f"{n:03}.md"] = path.stem
            text = path.read_text(encoding="utf8").replace(path.stem, "this alert")
            (blind / f"{n:03}.md").write_text(text, encoding="utf8")
        self.attempt("runbooks", "by the words of the name, which is blotted out",
                     lambda: self.alerts_found("by the words of the name, which is blotted out",
                                               blind, names, spelt_out))

    def alerts_found(self, part, folder, alerts, question=str):
        archive = self.out / "archives" / f"knowledge-{folder.name}"
        shutil.rmtree(archive, ignore_errors=True)
        self.product("knowledge", "import", folder, "--name", "alerts", "--archive", archive)
        others = self.data / OTHER_RUNBOOKS
        if others.is_dir():
            self.product("knowledge", "import", others, "--name", "others", "--archive", archive)
        ranks = []
        for source, alert in sorted(alerts.items()):
            text = self.product("knowledge", "search", question(alert), "--archive", archive,
                                "--kind", "runbook", "--limit", "10", "--format", "json")
            found = [json.loads(line) for line in text.splitlines()]
            found = [f["collection"] == "alerts" and f["source"] == source for f in found]
            ranks.append(found.index(True) + 1 if True in found else None)
        self.keep("runbooks", part, ranks)
        self.row("runbooks", f"{part}: alerts", len(ranks))
        for first in (1, 3, 10):
            hits = sum(rank is not None and rank <= first for rank in ranks)
            self.row("runbooks", f"{part}: in the first {first}", hits / len(ranks))

    def cases(self):
        """Incidents of generated days: do the later ones find the earlier of the same fault?"""
        totals = {}
        for seed in CASE_SEEDS:
            days = self.out / "outages" / f"recurring-{seed}"
            if not (days / "truth" / "faults.csv").exists():
                self.product("generate", days, "--recurring", str(CASE_FAULTS), "--seed", str(seed))
            for measure, (hits, asked) in self.cases_found(days).items():
                before = totals.get(measure, (0, 0))
                totals[measure] = (before[0] + hits, before[1] + asked)
        self.keep("cases", "totals", totals)
        self.row("cases", "questions", totals["in the first 3"][1])
        for measure, (hits, asked) in totals.items():
            self.row("cases", measure, hits / max(asked, 1))

    def cases_found(self, days):
        archive, _ = self.replay(days)
        with open(days / "truth" / "faults.csv", encoding="utf8", newline="") as f:
            faults = sorted(csv.DictReader(f), key=lambda fault: to_ms(fault["start"]))
        truth, roots = {}, {}
        opened = list(csv.DictReader(io.StringIO(self.query(archive, INCIDENTS_SQL))))
        for row in opened:
            at = to_ms(row["opened_at"])
            for fault in faults:
                if to_ms(fault["start"]) <= at <= to_ms(fault["end"]):
                    truth[row["incident_id"]] = (at, fault["service"], fault["kind"])
                    roots.setdefault(fault["fault_id"], row["root_service"])
        split = to_ms(faults[int(len(faults) * PAST)]["start"])
        counts = {"in the first 1": [0, 0], "in the first 3": [0, 0],
                  "chance: three of the past by lot": [0, 0], "latest three of the past": [0, 0],
                  "cited by the diagnosis of the run": [0, 0], "of those cited, right": [0, 0],
                  "faults with an incident": [len(roots), len(faults)],
                  "incidents that open during a fault": [len(truth), len(opened)],
                  "incidents per detected fault": [len(truth), len(roots)],
                  "root service first, of all faults": [
                      sum(roots.get(f["fault_id"]) == f["service"] for f in faults), len(faults)]}

        def count(measure, hit):
            counts[measure][0] += hit
            counts[measure][1] += 1

        for incident, (at, *fault) in sorted(truth.items(), key=lambda item: item[1]):
            past = {i: t[1:] for i, t in truth.items() if t[0] < at}
            if at < split or tuple(fault) not in past.values():
                continue
            text = self.product("knowledge", "search", "--incident", incident, "--archive",
                                archive, "--kind", "case", "--limit", "3", "--format", "json")
            found = [json.loads(line)["incident_id"] for line in text.splitlines()]
            right = [past.get(i) == tuple(fault) for i in found]
            count("in the first 1", any(right[:1]))
            count("in the first 3", any(right))
            same = sum(other == tuple(fault) for other in past.values())
            miss = 1.0
            for n in range(3):
                miss *= max(len(past) - same - n, 0) / max(len(past) - n, 1)
            count("chance: three of the past by lot", 1 - miss)
            latest = sorted(past, key=lambda i: truth[i][0])[-3:]
            count("latest three of the past", any(past[i] == tuple(fault) for i in latest))
            cited = self.query(archive, "SELECT subject FROM evidence WHERE kind = 'case'"
                               f" AND incident_id = '{incident}'").splitlines()[1:]
            count("cited by the diagnosis of the run",
                  any(past.get(i) == tuple(fault) for i in cited))
            for i in cited:
                count("of those cited, right", past.get(i) == tuple(fault))
        return counts

    def calm(self):
        """Incidents on generated days on which nothing is wrong, and how sure a diagnosis is."""
        incidents, weak, r = 0, [], random.Random(1)
        for seed in CALM_SEEDS:
            days = self.out / "outages" / f"calm-{seed}"
            if not (days / "topology.csv").exists():
                self.product("generate", days, "--calm", str(CALM_DAYS), "--seed", str(seed))
            archive, _ = self.replay(days)
            incidents += int(self.query(archive, "SELECT count(*) FROM incidents").splitlines()[1])
            minutes = [r.randrange((CALM_DAYS * 24 - 4) * 60) for _ in range(CALM_MOMENTS)]
            at = [(CALM_FROM + datetime.timedelta(minutes=m)).isoformat() for m in sorted(minutes)]
            asked = [part for moment in at for part in ("--at", moment)]
            text = self.product("diagnose", days, *asked, "--format", "jsonl")
            weak += [json.loads(line)["weak"] for line in text.splitlines()]
        self.row("calm", f"diagnoses at {len(weak)} moments that say nothing stands out",
                 sum(weak) / max(len(weak), 1))
        with open(days / "topology.csv", encoding="utf8", newline="") as f:
            services = {name for row in list(csv.reader(f))[1:] for name in row}
        per_day = incidents / (len(CALM_SEEDS) * CALM_DAYS)
        self.keep("calm", "totals", {"incidents": incidents, "services": len(services)})
        self.row("calm", f"incidents a day, {len(services)} services", per_day)
        self.row("calm", "incidents a day and 50 services", per_day * 50 / len(services))

    # Parts

    def replayed(self, outage):
        archive, seconds = self.replay(outage)
        self.row(outage.name, "replay, wall clock s", seconds)
        return archive

    def alerts(self, outage):
        path = self.work_file(f"{outage.name}.alerts.csv")
        if not path.exists():
            self.script("naive_alerts.py", outage, path)
        return path

    def incidents(self, outage, archive):
        path = self.work_file(f"{outage.name}.incidents.csv")
        path.write_text(self.query(archive, INCIDENTS_SQL), encoding="utf8")
        faults = outage / "truth" / "faults.csv"
        found = self.score("score_incidents.py", faults, path, self.alerts(outage))
        self.keep(outage.name, "incidents", found)
        references = {"fault_recall": "alert_fault_recall",
                      "incident_precision": "chance_precision",
                      "false_incidents_per_day": "false_alerts_per_day", "incidents": "alerts"}
        for measure in ("faults", "incidents", "fault_recall", "incident_precision",
                        "incidents_per_detected_fault", "false_incidents_per_day",
                        "time_to_incident_median_s", "root_top1_of_all_faults",
                        "noise_reduction", "false_positive_reduction"):
            reference = found.get(references.get(measure))
            self.row(outage.name, measure.replace("_", " "), found.get(measure), reference)

    def end_to_end(self, name, pairs):
        """Rankings of the incidents that were found, by the time at which each opened."""
        files = []
        for outage, archive in pairs:
            text = self.query(archive, DIAGNOSES_SQL)
            path = self.work_file(f"{outage.name}.end-to-end.jsonl")
            write_jsonl(path, rankings_of(csv.DictReader(io.StringIO(text))))
            files += [outage / "truth" / "faults.csv", path]
        self.causes(name, "causes end to end", files, None)

    def oracle(self, name, outages, *arguments, control="naive_rca.py"):
        """Rankings for the starts of the faults, which the program is told."""
        files, references, seconds, asked = [], [], 0.0, 0
        for outage in outages:
            truth = outage / "truth" / "faults.csv"
            starts = fault_starts(truth)
            at = [part for start in starts for part in ("--at", start)]
            started = time.monotonic()
            text = self.product("diagnose", outage, *at, "--format", "jsonl")
            seconds += time.monotonic() - started
            asked += len(starts)
            path = self.work_file(f"{outage.name}.given-times.jsonl")
            write_jsonl(path, attributed(text, starts))
            files += [truth, path]
            if control:
                reference = self.work_file(f"{outage.name}.naive.jsonl")
                reference.write_text(self.script(control, outage, *arguments), encoding="utf8")
                references += [truth, reference]
        self.causes(name, "causes at given times", files, references or None)
        self.row(name, "diagnose, wall clock s per time", seconds / max(asked, 1))

    def causes(self, name, part, files, references):
        found = self.score("score_rca.py", "--system", name, *files)[name]
        self.keep(name, part, found)
        control = references and self.score("score_rca.py", "--system", name, *references)[name]
        self.row(name, f"{part}: ranked of faults",
                 f"{found['all']['ranked']} of {found['all']['faults']}")
        for measure in ("AC@1", "AC@3", "AC@5", "Avg@5"):
            reference = control and interval(control["all"][measure])
            self.row(name, f"{part}: {measure}", interval(found["all"][measure]), reference)
        for kind in sorted(found.keys() - {"all"}):
            reference = control and interval(control[kind]["AC@1"])
            label = f"{part}: AC@1, {kind} ({found[kind]['faults']})"
            self.row(name, label, interval(found[kind]["AC@1"]), reference)

    def signals(self, outage):
        archive = self.replayed(outage)
        path = self.work_file(f"{outage.name}.signals.csv")
        path.write_text(self.query(archive, SIGNALS_SQL), encoding="utf8")
        found = self.score("score_detect.py", outage, path)
        self.keep(outage.name, "signals", found)
        control = self.score("score_detect.py", outage, self.alerts(outage))["detector"]
        self.row(outage.name, "signals", found["signals"])
        for measure in ("f1", "precision", "recall", "false_per_series_day", "median_delay_s",
                        "nab"):
            value, reference = found["detector"]["emission"][measure], control["emission"][measure]
            self.row(outage.name, measure.replace("_", " "), value, reference)
        self.row(outage.name, "nab at the threshold that is best on these labels",
                 found["detector"]["best"]["nab"], control["best"]["nab"])
        for chance in ("random", "constant_rate"):
            if chance in found:
                self.row(outage.name, f"f1 of as many {chance.replace('_', ' ')} episodes",
                         found[chance]["emission"]["f1"])

    def mined(self, folder, suffix):
        """A folder of the templates of every line."""
        predicted = self.out / "work" / f"templates-{folder.name}-{suffix}"
        shutil.rmtree(predicted, ignore_errors=True)
        predicted.mkdir(parents=True)
        for path in sorted(folder.glob(f"*.{suffix}")):
            text = self.product("templates", path, "--format", "csv")
            (predicted / f"{path.stem}.csv").write_text(text, encoding="utf8")
        return predicted

    def templates(self, name, folder):
        found = self.score("score_templates.py", folder / "truth", self.mined(folder, "content"))
        self.keep(name, "templates", found)
        for system, scores in found.items():
            values = ", ".join(f"{m} {show(scores[m])}" for m in ("GA", "FGA", "PA", "FTA"))
            self.row(name, f"templates, {system}", values)

    def with_header(self, name, folder):
        """Whether lines fall into the same groups when they keep their header."""
        contents, logs = self.mined(folder, "content"), self.mined(folder, "log")
        found = self.score("score_templates.py", contents, logs)
        self.keep(name, "with header", found)
        values = ", ".join(f"{m} {show(found['macro'][m])}" for m in ("GA", "FGA"))
        self.row(name, "groups with header against those without", values)


def spelt_out(name):
    """`KubePodCrashLooping` as words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)


def run(command):
    """Standard output of a command; its last words if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          encoding="utf8", errors="replace", stdin=subprocess.DEVNULL,
                          timeout=TIMEOUT_S)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        name = " ".join(str(part) for part in command[:2])
        raise Failed(f"`{name}` ended with {done.returncode}: {said[:200]}")
    return done.stdout


def to_ms(text):
    """RFC 3339, or without an offset as UTC, to milliseconds since the epoch."""
    at = datetime.datetime.fromisoformat(text.strip())
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.timezone.utc)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (at - epoch) // datetime.timedelta(milliseconds=1)


def fault_starts(truth):
    """Start of each fault, in order of time: {text: ids of the faults that start then}."""
    starts = {}
    with open(truth, encoding="utf8", newline="") as f:
        for row in sorted(csv.DictReader(f), key=lambda r: to_ms(r["start"])):
            starts.setdefault(row["start"], set()).add(row["fault_id"])
    return starts


def attributed(text, starts):
    """Rankings with the id of the fault whose start was asked for."""
    faults = {to_ms(start): ids for start, ids in starts.items()}
    for line in text.splitlines():
        if line.strip():
            ranking = json.loads(line)
            for fault in sorted(faults.get(to_ms(ranking["at"]), ())):
                yield {"fault_id": fault, "candidates": ranking["candidates"]}


def rankings_of(rows):
    """One ranking per incident: its latest diagnosis, best cause first."""
    incidents = {}
    for row in rows:
        diagnoses = incidents.setdefault((row["opened_at"], row["incident_id"]), {})
        diagnoses.setdefault(row["diagnosed_at"], []).append(row)
    for (opened_at, _), diagnoses in incidents.items():
        latest = diagnoses[max(diagnoses, key=to_ms)]
        candidates = [{"service": r["service"], "instance": r["instance"], "kind": r["kind"],
                       "score": float(r["confidence"] or 0)} for r in latest]
        yield {"at": opened_at, "candidates": candidates}


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf8")


def interval(measure):
    low, high = measure["ci95"]
    return f"{measure['value']:.2f} [{low:.2f},{high:.2f}]"


def show(value):
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def table(rows):
    cells = [["data set", "measure", "value", "reference"]]
    cells += [[show(cell) for cell in row] for row in rows]
    # The last column needs no padding, and a long message should not push it away.
    widths = [min(48, max(len(row[i]) for row in cells)) for i in range(4)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in cells]
    return "\n".join(lines)


def arguments():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kit", type=pathlib.Path, metavar="DIR",
                   help="not needed for " + ", ".join(WITHOUT_KIT))
    p.add_argument("--data", type=pathlib.Path, metavar="DIR",
                   help="not needed for " + ", ".join(WITHOUT_DATA))
    p.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR")
    p.add_argument("--only", choices=SETS, metavar="SET", help=", ".join(SETS))
    p.add_argument("--binary", type=pathlib.Path, metavar="PATH",
                   help="default: target/release/faultline of this repository")
    p.add_argument("--anonymize", metavar="SEED",
                   help="rename services and shift times; good detection does not notice")
    args = p.parse_args()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    args.binary = (args.binary or target / "release" / "faultline").resolve()
    if (args.kit is None and args.only not in WITHOUT_KIT) or (
            args.data is None and args.only not in WITHOUT_DATA):
        p.error("name --kit and --data, or a set by --only that does without")
    args.kit, args.data, args.out = (path and path.resolve()
                                     for path in (args.kit, args.data, args.out))
    if not args.binary.is_file():
        p.error(f"{args.binary} does not exist: run `cargo build --release`, or name a --binary")
    if args.kit and not (args.kit / "adapt.py").is_file():
        p.error(f"{args.kit} holds no adapt.py: name the kit's folder")
    if args.out.is_relative_to(ROOT):
        p.error(f"{args.out} lies in the repository: nothing of the data belongs there")
    return args


def main():
    args = arguments()
    evaluation = Evaluation(args)
    for name in [args.only] if args.only else SETS:
        if not SETS[name][0] or (args.data / SETS[name][0]).is_dir():
            evaluation.attempt(name, "all", getattr(evaluation, name))
        else:
            evaluation.row(name, "all", f"skipped: no {SETS[name][0]} among the data")
    args.out.mkdir(parents=True, exist_ok=True)
    results = json.dumps(evaluation.json, indent=1, sort_keys=True)
    (args.out / "results.json").write_text(results + "\n", encoding="utf8")
    print(table(evaluation.rows))
    return 1 if evaluation.failures else 0


if __name__ == "__main__":
    sys.exit(main())
