"""Writes the tables of docs/scaling.md and its figure. With --check, fails if a table is not what the scripts give."""

import argparse
import sys

import capacity
import sweep

PAGE = capacity.HERE.parent / "scaling.md"


def tables() -> dict[str, str]:
    """What stands between `<!-- name -->` and `<!-- /name -->`."""
    given = capacity.load()
    return {
        "needs": capacity.needs_table(given),
        "prices": capacity.price_table(given),
        "sizes": capacity.sizes_table(given),
        "rules": capacity.table(sweep.HEAD, sweep.rules_rows()),
        "platforms": capacity.table(sweep.PLATFORM_HEAD, sweep.platform_rows()),
    }


def filled(page: str, parts: dict[str, str]) -> str:
    """The page with these tables."""
    for name, text in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, found, rest = page.partition(start)
        if not found or end not in rest:
            raise SystemExit(f"{PAGE} has no part {name}")
        page = f"{head}{start}{text}\n{end}{rest.partition(end)[2]}"
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    page = PAGE.read_text()
    wanted = filled(page, tables())
    if parser.parse_args().check:
        if page != wanted:
            print(f"{PAGE} is out of date: .venv/bin/python docs/scaling/write.py", file=sys.stderr)
        return int(page != wanted)
    import plot

    PAGE.write_text(wanted)
    plot.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
