"""The process that renders chat templates: a line with a template and its variables in, a line with the text out.

It has the environment that transformers gives a template, and no more than some memory; a request that takes too long ends it.
Run as a file, so that it imports nothing of racviz.
"""

import contextlib
import functools
import json
import signal
import sys
from datetime import datetime

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY, LONGEST = 2**30, 2**24
"""Bytes that the process may take, and characters of a rendered prompt."""


class Generation(jinja2.ext.Extension):
    """`{% generation %} … {% endgeneration %}`, which marks the assistant's words and writes what is inside."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_inside"), [], [], body).set_lineno(line)

    def _inside(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@functools.cache
def environment():
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = tojson
    made.globals |= {"raise_exception": raise_exception, "strftime_now": lambda form: datetime.now().strftime(form)}
    return made


@functools.lru_cache(8)
def compiled(template):
    return environment().from_string(template)


def names(template):
    """Variables that a template reads and does not set, in alphabetical order."""
    return sorted(jinja2.meta.find_undeclared_variables(environment().parse(template)) - set(environment().globals))


def answer(asked):
    if asked["variables"] is None:
        return {"names": names(asked["template"])}
    text = compiled(asked["template"]).render(**asked["variables"])
    if len(text) > LONGEST:
        raise ValueError(f"it renders {len(text):,} characters")
    return {"text": text}


def main():
    with contextlib.suppress(ImportError, OSError, ValueError):  # where there are no such limits, the time alone bounds it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if hasattr(signal, "alarm"):
            signal.alarm(asked["seconds"])  # its default action ends the process, also inside one product of integers
        try:
            said = answer(asked)
        except MemoryError:
            said = {"error": f"it needs more than {MEMORY // 2**20} MiB"}
        except Exception as error:  # jinja's, and whatever a template raises of its own
            said = {"error": str(error) or type(error).__name__}
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
