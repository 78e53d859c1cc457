"""Run time and memory of jobs."""

import json

from rdpipe.report.stage_times import stage_times


def write_benchmarks(folder, jobs):
    """Write Snakemake's benchmarks of jobs, each with some runs; return their folder."""
    for name, runs in jobs.items():
        file = folder / f"benchmarks/{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(run) + "\n" for run in runs))
    return folder / "benchmarks"


def test_times_of_a_stage_are_those_of_its_last_run(tmp_path):
    jobs = {
        "measure_gap/d/c/q1/joint": [{"s": 9.0}, {"s": 2.0, "max_rss": 300.0}],
        "measure_gap/d/c/q2/joint": [{"s": 3.0, "max_rss": 200.0}],
        "make_report": [{"s": 0.5, "max_rss": "NA"}],
        "empty": [],
    }
    assert stage_times(write_benchmarks(tmp_path, jobs), tmp_path) == [
        {"stage": "make_report", "jobs": 1, "seconds": 0.5, "longest": 0.5, "memory": 0.0},
        {"stage": "measure_gap", "jobs": 2, "seconds": 5.0, "longest": 3.0, "memory": 300.0},
    ]
    assert stage_times(tmp_path / "none", tmp_path) == []


def test_memory_of_a_job_is_the_larger_of_sampled_and_logged_memory(tmp_path):
    jobs = {
        "simulate/q1/0": [{"s": 1.0, "max_rss": 300.0}],
        "make_report": [{"s": 1.0, "max_rss": "NA"}],
    }
    benchmarks = write_benchmarks(tmp_path, jobs)
    log = tmp_path / "simulate/q1/0.log"
    log.parent.mkdir(parents=True)
    log.write_text("a warning of a peak memory: 999 MiB\npeak memory: 250 MiB\n")
    (tmp_path / "make_report.log").write_text(
        "peak memory: 700 MiB\npeak memory: 90 MiB\na warning\n"
    )

    def memory():
        return {row["stage"]: row["memory"] for row in stage_times(benchmarks, tmp_path)}

    assert memory() == {"simulate": 300, "make_report": 700}
    log.write_text("peak memory: 350 MiB\n")
    assert memory()["simulate"] == 350
