"""Rules about the tree itself."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CELLS = ("aha", "axon", "cortex", "cryotank")


def tracked_files() -> list[Path]:
    """Every file under version control, or about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def test_no_namespace_folder_has_an_init_file() -> None:
    """One stray `cellmesh/__init__.py` hides every other root's part of the namespace."""
    stray = [p for p in tracked_files() if p.name == "__init__.py" and p.parent.name == "cellmesh"]
    stray += [p for p in tracked_files() if p.match("cellmesh/api/__init__.py")]
    assert stray == []


def test_tests_folders_are_no_packages() -> None:
    stray = [p for p in tracked_files() if p.name == "__init__.py" and "tests" in p.relative_to(ROOT).parts]
    assert stray == []


def test_packages_carry_their_map_as_docstring() -> None:
    """A package's docstring names every module in it, as a word of its own, so that the map stays true."""
    missing = []
    for init in (p for p in tracked_files() if p.name == "__init__.py"):
        text = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
        for module in sorted(init.parent.iterdir()):
            is_module = module.suffix == ".py" and not module.name.startswith("__")
            is_package = (module / "__init__.py").exists()
            named = re.search(rf"(?<!\w){re.escape(module.stem)}(?!\w)", text)
            if (is_module or is_package) and not named:
                missing.append(f"{init.relative_to(ROOT)} does not mention {module.name}")
    assert missing == []


def test_no_file_names_a_path_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/\w")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked_files()
        if path.suffix in {".py", ".md", ".toml", ".proto", ".yaml", ".yml", ""} and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_every_make_target_is_in_help() -> None:
    """A target people may call carries its help text; the steps of `verify` are part of it."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony is not None
    documented = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.M))
    assert {t for t in phony.group(1).split() if not t.startswith("verify-")} == documented


def test_readme_names_the_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    assert set(re.findall(r"`?make ([a-z-]+)", readme)) <= targets
    assert "make demo" in readme
    assert "make test" in readme


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in (p for p in tracked_files() if p.suffix == ".md" and "conformance" not in p.parts):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_conformance_cases_are_well_formed_and_unique() -> None:
    seen = set()
    for path in sorted((ROOT / "tests" / "conformance").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            assert {"id", "area", "setup", "expect"} <= set(row)
            assert (row["area"], row["id"]) not in seen
            seen.add((row["area"], row["id"]))
    assert len(seen) > 1800
