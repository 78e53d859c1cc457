"""Run time and memory of jobs."""

from rdpipe.report.stage_times import stage_times


def line(seconds, memory):
    """Return the last line of the log of a job."""
    return f"time: {seconds} s, of the processor: 1.0 s, peak memory: {memory} MiB\n"


def test_times_and_memory_of_a_stage_are_those_of_its_jobs(tmp_path):
    logs = {
        "measure_gap/d/c/q1/joint": "a warning of a peak memory: 999 MiB\n" + line(2.0, 300),
        "measure_gap/d/c/q2/joint": line(3.5, 200),
        "make_report": line(0.5, 90),
        "train_codec/two-processes": line(9.0, 700) + line(9.5, 650),
        "simulate/failed": "rdpipe simulate: there is no file\n",
        "empty": "",
    }
    for name, text in logs.items():
        file = tmp_path / f"{name}.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert stage_times(tmp_path) == [
        {"stage": "make_report", "jobs": 1, "seconds": 0.5, "longest": 0.5, "memory": 90},
        {"stage": "measure_gap", "jobs": 2, "seconds": 5.5, "longest": 3.5, "memory": 300},
        {"stage": "train_codec", "jobs": 1, "seconds": 9.5, "longest": 9.5, "memory": 700},
    ]
    assert stage_times(tmp_path / "none") == []
