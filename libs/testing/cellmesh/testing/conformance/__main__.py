"""`python -m cellmesh.testing.conformance`: run the Storm cases and say how many pass."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cellmesh.testing.conformance.cases import read_cases
from cellmesh.testing.conformance.runner import area_lines, run

DEFAULT_CASES = Path("tests/conformance")


def main() -> None:
    """Parse the command line, run, print; exit code 1 when a case failed."""
    parser = argparse.ArgumentParser(prog="python -m cellmesh.testing.conformance", description=__doc__)
    parser.add_argument(
        "--cases", type=Path, default=DEFAULT_CASES, help=f"folder of *.jsonl (default: {DEFAULT_CASES})"
    )
    parser.add_argument("--area", action="append", metavar="04", help="only areas that begin so; repeatable")
    parser.add_argument("--case", action="append", metavar="NAME", help="only this case; repeatable")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print the difference for each failed case"
    )
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument(
        "--write-passed", type=Path, metavar="FILE", help="write the names of the passed cases there"
    )
    options = parser.parse_args()
    cases = read_cases(options.cases, options.area, options.case)
    by_key = {case.key: case for case in cases}
    verdicts = []
    for verdict in run(cases, options.workers):
        verdicts.append(verdict)
        if options.verbose and not verdict.passed:
            case = by_key[verdict.key]
            print(
                f"FAILED {verdict.key}: {case.query.text}",
                *(f"    {p}" for p in verdict.problems),
                sep="\n",
                flush=True,
            )
    if options.write_passed:
        names = sorted(verdict.key for verdict in verdicts if verdict.passed)
        options.write_passed.write_text("".join(f"{name}\n" for name in names))
    elsewhere = sum(verdict.other_position for verdict in verdicts)
    if elsewhere:
        print(f"{elsewhere} syntax errors found at another place than expected")
    print("\n".join(area_lines(verdicts)))
    sys.exit(0 if all(verdict.passed for verdict in verdicts) else 1)


if __name__ == "__main__":
    main()
