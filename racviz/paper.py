"""What the paper prints (data/paper/*.csv): for columns and curves that are called published, and for nothing else."""

from racviz.errors import unknown
from racviz.store import resource


def published(name: str):
    """A table of the paper as a frame: `math` (accuracy and minutes by model, source and sparsity) or `semi_structured`.

    What could not be had is missing; data/paper/README.md says what and why. Raises ParameterError for a table that is not there.
    """
    import pandas as pd

    tables = {path.stem: path for path in resource("data/paper").glob("*.csv")}
    if name not in tables:
        raise unknown("published", name, sorted(tables))
    return pd.read_csv(tables[name]).assign(published=True)
