"""The benchmark suite: cumulo against its peers, on one origin, in one run.

``python -m benchmarks`` starts a local nginx (`origin`), runs each case (`cases`) in a fresh process per library and
round (`measure`, `runner`), and prints medians and ratios beside the project's targets (`verdicts`, `report`). A case
drives every library by the same code: the peers share one API, so the library under test is only a module name.
"""
