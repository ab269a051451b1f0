"""Every place in the package that writes is one that a full disk was tried at.

A file is written inside `replacing`, to the temporary path that it hands out, or in the folder of
`building`, which is gone when anything fails. What else touches the disk is listed with a reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "mmrobust"

WRITERS = {
    # text, bytes and tables
    *("write_text", "write_bytes", "write", "writelines", "writerow", "writerows"),
    *("to_csv", "to_parquet", "to_json", "to_pickle", "to_feather", "write_table", "ParquetWriter"),
    # arrays, weights and pictures
    *("save", "savez", "savez_compressed", "save_npz", "savetxt", "tofile", "memmap"),
    *("open_memmap", "write_array", "write_array_header_1_0", "save_file", "save_pretrained"),
    *("savefig", "imsave"),
    # names, folders and archives
    *("mkdir", "makedirs", "touch", "mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryFile"),
    *("TemporaryDirectory", "rename", "symlink_to", "hardlink_to", "extractall", "unlink"),
    *("rmdir", "chmod", "truncate", "retrieve"),
}
"""Names of functions and methods that write, whatever they belong to; so does all of `shutil`."""
ASKS = {"disk_usage", "which"}
"""Of `shutil`, what asks and writes nothing."""
OF_THE_SYSTEM = {
    *("open", "replace", "renames", "link", "symlink", "remove", "removedirs", "mkfifo"),
}
"""Of `os`, what writes beside that."""
DUMPS = {"dump", "safe_dump"}
"""What writes if it is given a stream."""
OPENERS = {"open", "io.open", "gzip.open", "tarfile.open", "os.fdopen", "zipfile.ZipFile"}
"""What takes a file first and its mode second; the `open` of a path takes its mode first."""
OPENS_TO_READ = {"Image.open"}
SHIELDS = {"replacing", "building", "told_clearly"}
"""In a block of one of these, what the disk refuses is told clearly."""
BUILT = "fills a folder of `building`, which its callers open"
ALLOWED = {
    # the shields themselves
    "artifacts.py:together": "removes what `replacing` left with it",
    "artifacts.py:_locked_temporary": "`replacing` calls it under `told_clearly`",
    "artifacts.py:_sweep": "removes what a killed writer left; a refusal changes nothing",
    "artifacts.py:_publish_mode": "called under `told_clearly`, or on a folder of `building`",
    # called under a shield
    "augment/run.py:_of_pictures": BUILT,
    "data/augmented.py:open_images": BUILT,
    "data/augmented.py:write_augmented": BUILT,
    "data/prepared.py:create_images": BUILT,
    "data/prepared.py:write_labels": BUILT,
    "data/archives.py:extract": "removes its own part",
    "data/archives.py:_extract": "`extract` calls it under `told_clearly`",
    "data/resuming.py:ResumingDownloader.__call__": "`download` calls it under `told_clearly`",
    "data/resuming.py:ResumingDownloader._attempt": "`download` calls it under `told_clearly`",
    "data/resuming.py:_copy": "`download` calls it under `told_clearly`",
    "report/publish.py:_copy": "copies to the path of `replacing`",
    # writes through a shield, by a method of ours
    "evaluation/run.py:evaluate_model": "`RunFacts.write`",
    "training/loop.py:train": "`TrainingState.save`",
    # no file
    "augment/chunks.py:_opened": "an augmenter's own `open`, which loads its models",
    "evaluation/examples.py:_png": "a stream in memory",
    "figures/style.py:svg_of": "a stream in memory",
    # the ledger and the locks
    "pipeline/locks.py:note_run": "removes notes of runs that were killed",
    "pipeline/unrecorded.py:kept_unless_written": "copies under `told_clearly`, puts back, removes",
    # the machine's GPUs, in a folder that is no project's
    "gpu_slots.py:_first_free": "the system's own folder for temporary files",
    "gpu_slots.py:_opened": "a lock in the system's own folder for temporary files",
    "pipeline/touched.py:settle_touched": "removes a note of its own",
    "gpu_slots.py:_lock": "a file that this process has just opened",
    # removes, and writes nothing
    "data/download.py:_fetch": "removes an archive that is refused",
    "data/raw.py:import_data": "removes the record of other raw files",
    "report/publish.py:publish_results": "removes what an earlier call wrote and this one doesn't",
    "training/run.py:train_model": "`RunFacts.write`; removes the state that is used up",
}
"""Module and function -> why it may write outside a shield."""


def unshielded(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Function and text of each call that writes outside a shield."""
    return _unshielded(tree, imported_from(tree, "os", "shutil"))


def _unshielded(
    node: ast.AST, imported: dict[str, str], inside: str = "", shield: bool = False
) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        name, shielded = inside, shield
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{inside}.{child.name}".lstrip(".")
        elif isinstance(child, ast.With):
            shielded = shield or any(is_shield(item.context_expr) for item in child.items)
        elif isinstance(child, ast.Call) and not shield and writes(child, imported):
            yield name, ast.unparse(child.func)
        yield from _unshielded(child, imported, name, shielded)


def imported_from(tree: ast.Module, *modules: str) -> dict[str, str]:
    """What is imported of some modules by its own name -> its full name."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in modules
        for alias in node.names
    }


def is_shield(manager: ast.expr) -> bool:
    function = manager.func if isinstance(manager, ast.Call) else None
    return isinstance(function, ast.Name) and function.id in SHIELDS


def writes(call: ast.Call, imported: Mapping[str, str]) -> bool:
    """Whether a call is one of those that write; `write_text(...)` alone is ours, and shielded."""
    function = ast.unparse(call.func)
    function = imported.get(function, function)
    owner, _, name = function.rpartition(".")
    if owner == "shutil":
        return name not in ASKS
    if owner == "os" and name in OF_THE_SYSTEM:
        return True
    if name == "open" or function in OPENERS:
        return function not in OPENS_TO_READ and opens_to_write(call, function)
    if name in DUMPS:
        return len(call.args) > 1 or any(word.arg in ("fp", "stream") for word in call.keywords)
    if name == "replace":  # of a path, one argument; of a text, two
        return bool(owner) and len(call.args) == 1
    return bool(owner) and name in WRITERS


def opens_to_write(call: ast.Call, function: str) -> bool:
    """Whether the mode says so, or is not known before it runs."""
    at = 1 if function in OPENERS else 0
    modes = [*call.args[at : at + 1], *(word.value for word in call.keywords if word.arg == "mode")]
    return any(
        not isinstance(mode, ast.Constant) or bool(set(str(mode.value)) & set("wax+"))
        for mode in modes
    )


def found() -> dict[str, set[str]]:
    """Module and function -> its calls that write outside a shield."""
    sites: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        for function, call in unshielded(ast.parse(path.read_text(encoding="utf-8"))):
            sites.setdefault(f"{module}:{function}", set()).add(call)
    return sites


def test_nothing_is_written_outside_a_shield_without_a_reason():
    sites = found()
    unknown = {site: calls for site, calls in sites.items() if site not in ALLOWED}
    assert unknown == {}, "write inside `replacing` or `building`, or say here why not"
    assert sorted(ALLOWED.keys() - sites.keys()) == [], "listed, but writes nothing any more"


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')",
        "path.open(mode='ab')",
        "table.to_csv(path)",
        "np.savez(path, values=values)",
        "torch.save(state, path)",
        "shutil.copyfile(one, other)",
        "part.replace(path)",
        "with other(path): path.write_text('')",
        "os.replace(one, other)",
        "os.symlink(one, other)",
        "os.link(one, other)",
        "os.open(path, flags)",
        "open(path, mode=mode)",
        "path.open(mode)",
        "zipfile.ZipFile(path, 'w')",
        "json.dump(values, stream)",
        "from shutil import copyfile; copyfile(one, other)",
    ],
)
def test_a_new_site_is_found(line):
    [(function, _)] = list(unshielded(ast.parse(f"def new():\n    {line}\n")))
    assert function == "new"


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "path.open('rb')",
        "text.replace('a', 'b')",
        "write_text(path, text)",
        "json.dumps(values)",
        "zipfile.ZipFile(path)",
        "Image.open(path)",
        "with replacing(path) as new, new.open('w') as stream: stream.write('')",
    ],
)
def test_what_reads_or_is_shielded_is_none(line):
    assert list(unshielded(ast.parse(line))) == []
