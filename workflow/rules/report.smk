REPORT = []
if config["codecs"]:
    REPORT = rules.trace_bounds.output
