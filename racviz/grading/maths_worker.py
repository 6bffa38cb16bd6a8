"""The process that compares mathematics: a line with gold and answer in, a line with the verdict out."""

import contextlib
import json
import logging
import sys

MEMORY = 2 * 2**30


def main() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # where there are no such limits, the time alone bounds it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    logging.disable()  # it tells of every time-out that is not its own
    boxes = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            gold = parse(f"\\boxed{{{asked['gold']}}}", boxes, parsing_timeout=None)
            answer = parse(asked["answer"], boxes, parsing_timeout=None)
            equal = bool(verify(gold, answer, timeout_seconds=None))
        except Exception:  # of every kind, for what is no mathematics
            equal = False
        print(json.dumps({"equal": equal}), flush=True)


if __name__ == "__main__":
    main()
