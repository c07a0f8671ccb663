"""How long does importing it take, beside importing what it needs alone?

Fresh interpreters, in turns, each of which takes the CPU time of one import: the start of the interpreter is not in it. What it
needs is read from itself: the import statements of all modules of the package that the import loads, as they stand there, those of
the cipher libraries alone and those of everything. The number of modules is how many the import added.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

from benchmarks.measure import Effort, median, ratio, spread

NAME: Final = "imports"
CIPHERS: Final = "the cipher modules it needs"
NEEDS: Final = "all that clientsession needs"
OURS: Final = "import clientsession"
OURS_WSGI: Final = "import clientsession.wsgi"
WEBOB: Final = "import webob"
WSGI_NEEDS: Final = "all that clientsession.wsgi needs"
CIPHER_PACKAGES: Final = ("cryptography", "nacl")
WARM_UPS: Final = 1  # imports before the first that counts: they read the files from the disk, and write compiled ones

# Run in fresh interpreters, which know nothing of this package. Isolated (-I): no variable of the environment and no file of the
# current folder has a say.

_TIMING: Final = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
code = compile(sys.argv[1], "<imports>", "exec")
before = set(sys.modules)
clock = time.process_time if time.get_clock_info("process_time").resolution <= 1e-6 else time.perf_counter
start = clock()
exec(code, {})
seconds = clock() - start
added = set(sys.modules) - before
print(json.dumps({"seconds": seconds, "modules": len(added), "webob": "webob" in added}))
"""

_READING: Final = """
import ast, importlib, importlib.util, json, sys, warnings
warnings.simplefilter("ignore")
importlib.import_module(sys.argv[1])
found = []
def visit(statements):
    for statement in statements:
        if isinstance(statement, (ast.With, ast.Try)):
            visit(statement.body)
        elif isinstance(statement, ast.Import):
            found.extend("import " + alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module != "__future__":
            found.append(ast.unparse(statement))
for name in [name for name in sys.modules if name.partition(".")[0] == "clientsession"]:
    with open(importlib.util.find_spec(name).origin, encoding="utf-8") as file:
        visit(ast.parse(file.read()).body)
print(json.dumps([line for line in dict.fromkeys(found) if line.split()[1].partition(".")[0] != "clientsession"]))
"""


def run(effort: Effort) -> dict[str, Any]:
    """Seconds and modules of each import.

    Raises:
        RuntimeError: an import failed, or ``import clientsession`` brought WebOb.
    """
    needs, wsgi_needs = _python(_READING, "clientsession"), _python(_READING, "clientsession.wsgi")
    ciphers = [line for line in needs if line.split()[1].partition(".")[0] in CIPHER_PACKAGES]
    statements = {
        CIPHERS: ciphers,
        NEEDS: needs,
        OURS: [OURS],
        WEBOB: [WEBOB],
        WSGI_NEEDS: wsgi_needs,
        OURS_WSGI: [OURS_WSGI],
    }
    values: dict[str, dict[str, list[float]]] = {name: {"import": []} for name in statements}
    modules: dict[str, int] = {}
    for turn in range(-WARM_UPS if effort.seconds else 0, effort.rounds):
        for name, lines in statements.items():
            told = _python(_TIMING, "\n".join(lines))
            modules[name] = told["modules"]
            if name == OURS and told["webob"]:
                raise RuntimeError("import clientsession imports WebOb")
            if turn >= 0:
                values[name]["import"].append(told["seconds"])
    return {"unit": "s", "values": values, "modules": modules, "ciphers": ciphers, "needs": needs, "wsgi_needs": wsgi_needs}


def _python(code: str, *arguments: str) -> Any:
    """What a fresh, isolated interpreter says.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-I", "-c", code, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - the code above
    if done.returncode:
        raise RuntimeError("a fresh interpreter cannot import clientsession: what it said stands above; is it installed?")
    return json.loads(done.stdout)


def table(result: dict[str, Any]) -> str:
    """Markdown: milliseconds, modules, and the ratio to the cipher modules alone and to all that is needed."""
    values, modules = result["values"], result["modules"]
    bases = {OURS: NEEDS, OURS_WSGI: WSGI_NEEDS}
    lines = ["| | ms | modules | × its ciphers | × all it needs |", "|---|--:|--:|--:|--:|"]
    for name, points in values.items():
        seconds = points["import"]
        shown = [f"{median(seconds) * 1e3:.1f} ± {spread(seconds) * 1e3:.1f}", str(modules[name])]
        for base in (CIPHERS, bases.get(name)):
            if base is None or name in {CIPHERS, WEBOB}:
                shown.append("")
            else:
                middle, distance = ratio(seconds, values[base]["import"])
                shown.append(f"{middle:.2f} ± {distance:.2f}")
        lines.append(f"| {f'**{name}**' if name in bases else name} | " + " | ".join(shown) + " |")
    lines += ["", "WebOb is not imported by `import clientsession`."]
    return "\n".join(lines)
