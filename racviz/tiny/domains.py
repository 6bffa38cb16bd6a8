"""The embedded problem domains by name: each a module with `make`, which draws a task, and `teach`, which writes its thought."""

from racviz.tiny import arithmetic, tracing

DOMAINS = {"arithmetic": arithmetic, "tracing": tracing}
