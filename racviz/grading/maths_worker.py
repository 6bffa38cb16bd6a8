"""The process that compares mathematics: a line with gold and answer in, a line with the verdict out."""

import contextlib
import json
import logging
import sys

MEMORY = 2 * 2**30


def main() -> None:
    """Answer questions, one a line, until the input ends."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # where there are no such limits, the time alone bounds it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from racviz.grading.algebra import SympyAlgebra
    from racviz.grading.judging import right

    logging.disable()  # it tells of every time-out that is not its own
    algebra = SympyAlgebra()
    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            equal = right(question["gold"], question["answer"], algebra)
        except Exception:  # of every kind, for what is no mathematics
            equal = False
        print(json.dumps({"equal": equal}), flush=True)


if __name__ == "__main__":
    main()
